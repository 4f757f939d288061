"""A simulated host of ``epoch``: takes its rows of every batch, and writes down what they hold before the next batch.

usage: python -m tests.data.epoch_host DATA STATE LOG HOST HOSTS BATCH LAST WORKERS

STATE is a file with the state of the data to go on from, or ``-``; LAST is the last row of the run and one.
"""

import json
import os
import pathlib
import sys

from irg_jax.data.pipeline import Batches
from tests.data import epoch_data


def main(data: str, state: str, log: str, *numbers: str) -> None:
    host, hosts, batch, last, workers = map(int, numbers)
    rows = epoch_data.open_rows(pathlib.Path(data))
    first = 0 if state == "-" else rows.resume(json.loads(pathlib.Path(state).read_text()))
    own = range(host * batch // hosts, (host + 1) * batch // hosts)
    count = (last - first) // batch
    with (
        Batches(rows, count, batch_size=batch, offsets=own, first=first, workers=workers, buffer_gb=0.05) as batches,
        open(log, "a") as file,
    ):
        for number in range(count):
            made = next(batches)
            start = first + number * batch
            held = {
                start + offset: epoch_data.seen(rows, {name: column[i] for name, column in made["und"].items()})
                for i, offset in enumerate(own)
            }
            # One line is a checkpoint: what was consumed, and where to go on.
            file.write(json.dumps({"rows": held, "state": rows.state(start + batch)}) + "\n")
            file.flush()
            os.fsync(file.fileno())


if __name__ == "__main__":
    main(*sys.argv[1:])

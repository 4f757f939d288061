"""One epoch of a data set, killed again and again, with other numbers of hosts, against the same one undisturbed.

    python -m tests.data.epoch --records 20000 --out docs/epoch.md

Trajectories are made up, built into a data set (TFDS, ArrayRecord; with ``--beam PYTHON`` also by Apache Beam, where
this Python has it, to the same bytes), and streamed in all six modes by worker processes until every record was drawn
in every mode. The hosts are killed with ``kill -9`` at random points; others, in another number, go on from what all of
them have written down. What a row holds is told from its tokens. In the end every row has to be there once and be that
of the undisturbed run, and every mode to have every record once in its first epoch.
"""

import argparse
import collections
import datetime
import json
import os
import pathlib
import platform
import random
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from irg_jax.data.pipeline import PackedRows
from tests import commands
from tests.data import epoch_data

BATCH = 6  # rows, which 1, 2 and 3 hosts can share
# Hosts, and workers of each, from one stop to the next.
PHASES = ((1, 2), (1, 1), (3, 1), (2, 1), (1, 0), (3, 1))


class Stop(NamedTuple):
    """A kill: hosts and workers of each, the batch of the run that was the last one on all hosts, batches lost."""

    hosts: int
    workers: int
    batch: int
    lost: int


class Result(NamedTuple):
    """What was streamed, and the seconds that it took."""

    samples: int
    rows: int
    stops: list[Stop]
    undisturbed: float
    disturbed: float


class Hosts:
    """The processes between two stops, and what they write down.

    Args:
      data: folder of the data set.
      scratch: folder for their logs.
      state: of the data, to go on from; None at the beginning.
      last: the last row of the run and one.
      hosts: how many.
      workers: of each.
    """

    def __init__(
        self, data: pathlib.Path, scratch: pathlib.Path, state: dict | None, last: int, hosts: int, workers: int
    ):
        scratch.mkdir()
        place = "-"
        if state is not None:
            place = scratch / "state.json"
            place.write_text(json.dumps(state))
        self._logs = [scratch / f"{host}.jsonl" for host in range(hosts)]
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.data.epoch_host"]
                + [str(x) for x in (data, place, log, host, hosts, BATCH, last, workers)],
                cwd=commands.ROOT, env=commands.environment(),
            )
            for host, log in enumerate(self._logs)
        ]  # fmt: skip

    def done(self) -> list[int]:
        """Batches that each host has written down."""
        return [log.read_bytes().count(b"\n") if log.exists() else 0 for log in self._logs]

    def wait_for(self, batches: int) -> None:
        """Waits until all hosts have written down so many batches."""
        while min(self.done()) < batches:
            assert not any(process.poll() is not None for process in self._processes), "a host has ended too early"
            time.sleep(0.01)

    def kill(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def finish(self) -> None:
        assert [process.wait() for process in self._processes] == [0] * len(self._processes)

    def consumed(self) -> tuple[dict[int, list], dict | None]:
        """What the rows hold that all hosts have written down, and the state after them; a line may be torn."""
        lines = [log.read_text().split("\n")[:-1] if log.exists() else [] for log in self._logs]
        common = min(map(len, lines))
        held: dict[int, list] = {}
        for host in lines:
            for line in host[:common]:
                for row, samples in json.loads(line)["rows"].items():
                    assert int(row) not in held, f"two hosts have built row {row}"
                    held[int(row)] = [tuple(sample) for sample in samples]
        return held, json.loads(lines[0][common - 1])["state"] if common else None


def stream(
    data: pathlib.Path, scratch: pathlib.Path, last: int, stops: int, rng: random.Random
) -> tuple[dict[int, list], list[Stop]]:
    """Streams the rows up to the last one, with so many stops; returns what they hold, by row."""
    targets = sorted(rng.sample(range(1, last // BATCH - 2 * stops), stops))
    held: dict[int, list] = {}
    state, made = None, []
    for number in range(stops + 1):
        hosts, workers = PHASES[number % len(PHASES)]
        running = Hosts(data, scratch / f"{number}", state, last, hosts, workers)
        before = len(held) // BATCH
        if number < stops:
            running.wait_for(max(targets[number] - before, 1))
            time.sleep(rng.uniform(0, 0.05))
            running.kill()
        else:
            running.finish()
        rows, reached = running.consumed()
        assert not rows.keys() & held.keys(), "rows were consumed again after a stop"
        held |= rows
        state = reached or state
        if number < stops:
            done = running.done()
            made.append(Stop(hosts, workers, len(held) // BATCH, sum(done) - len(done) * min(done)))
    return held, made


def rows_of_an_epoch(rows: PackedRows, records: int) -> int:
    """The number of rows, whole batches, until every record was drawn in every mode."""
    left = {(mode, number) for mode in range(len(rows.modes)) for number in range(records)}
    last = 0
    while left:
        left -= {(sample.component, sample.number) for sample in rows.plan.row(last)}
        last += 1
    return -(-last // BATCH) * BATCH


def check_epoch(rows: PackedRows, held: dict[int, list], last: int, records: int) -> int:
    """Every row is there, and in its first epoch every mode has every record once; returns the number of samples."""
    assert sorted(held) == list(range(last)), "a row is missing"
    first_epoch: collections.Counter[tuple[int, int]] = collections.Counter()
    for i in range(last):
        planned = rows.plan.row(i)
        # Every record is in every mode, so the number of a sample is that of its record.
        assert held[i] == sorted((sample.component, sample.sample) for sample in planned), f"row {i} is another one"
        first_epoch.update((sample.component, sample.sample) for sample in planned if sample.number < records)
    wanted = {(mode, record): 1 for mode in range(len(rows.modes)) for record in range(records)}
    assert first_epoch == wanted, "a record is lost or repeated"
    return sum(map(len, held.values()))


def run(folder: pathlib.Path, records: int, stops: int, seed: int, beam: str | None = None) -> Result:
    """Builds and streams an epoch twice; an AssertionError says what is lost, repeated or different."""
    source = epoch_data.write_input(folder / "in", records, seed)
    epoch_data.build(source, folder / "data")
    if beam:
        epoch_data.build(source, folder / "beam", beam, "--beam_workers=2")
        for path in (folder / "data").glob("*"):
            assert path.is_dir() or path.read_bytes() == (folder / "beam" / path.name).read_bytes(), path
    rows = epoch_data.open_rows(folder / "data")
    assert not rows.oversize
    last = rows_of_an_epoch(rows, records)
    rng, seconds, made = random.Random(seed), [], []
    for name, count in (("whole", 0), ("stopped", stops)):
        (folder / name).mkdir()
        start = time.monotonic()
        made.append(stream(folder / "data", folder / name, last, count, rng))
        seconds.append(time.monotonic() - start)
    (whole, _), (stopped, where) = made
    assert stopped == whole, "the rows are not those of the undisturbed run"
    # With a plan of its own, which goes through the rows once more: one that has gone far is slow at going back.
    return Result(check_epoch(epoch_data.open_rows(folder / "data"), stopped, last, records), last, where, *seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--stops", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beam", metavar="PYTHON")
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = run(pathlib.Path(folder), arguments.records, arguments.stops, arguments.seed, arguments.beam)
    text = page(found, arguments)
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


def page(found: Result, arguments: argparse.Namespace) -> str:
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    table = "\n".join(f"| {i} | {' | '.join(map(str, stop))} |" for i, stop in enumerate(found.stops, start=1))
    hosts, workers = PHASES[len(found.stops) % len(PHASES)]
    beam = "\nApache Beam, with two workers, has built the same bytes.\n" if arguments.beam else ""
    today, speed = datetime.date.today().isoformat(), found.rows / found.undisturbed
    return f"""# One epoch, killed and gone on with

`python -m tests.data.epoch --records {arguments.records} --stops {arguments.stops} --seed {arguments.seed}`
at commit {commit}, {platform.machine()} CPU with {os.cpu_count()} cores that others use too, {today}.

{arguments.records:,} trajectories with two pictures of {epoch_data.EDGE} pixels in ArrayRecord files: {found.samples:,}
samples of all six modes in {found.rows:,} rows, a little more than an epoch, because the modes end theirs at different
rows. The hosts were stopped {len(found.stops)} times with `kill -9`, and others went on. Every row is there once and is
that of an undisturbed run, told from its tokens; in its first epoch every mode has every record once.
{beam}
| stop | hosts | workers of each | last batch on all hosts | batches that some hosts had beyond it |
|---|---|---|---|---|
{table}

The rest was streamed by {hosts} host(s) with {workers} worker(s) each. The undisturbed run, one host with two workers,
took {found.undisturbed:.0f} s, {speed:.0f} rows/s; the one with the stops {found.disturbed:.0f} s, with their starts.
"""


if __name__ == "__main__":
    main()

"""A soak: one run of the shapes world, stopped again and again, against the same run undisturbed.

    python -m tests.launch.soak --stops 20 --out docs/soak.md

Each stop is one of: Ctrl-C, SIGTERM, ``kill -9``, the terminal is closed, the disk is full; while the data are indexed,
the step is compiled, a checkpoint is saved, or steps are taken. Then the same command is given again. In the end
parameters, EMA, optimizer state and the table of metrics have to be those of the undisturbed run, bit for bit. The disk
is a file system in memory, which only root may mount; without it no disk is filled, and the table says so.
"""

import argparse
import contextlib
import csv
import datetime
import itertools
import os
import pathlib
import platform
import pty
import random
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator

import jax
import numpy as np
import orbax.checkpoint as ocp

from tests import commands

STEPS = 400
FLAGS = commands.small(steps=STEPS, log__every=1, checkpoint__every=50, checkpoint__keep=2)
SIGNALS = {"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM, "kill -9": signal.SIGKILL}
CLOSED, FULL = "terminal closed", "disk full"
MOMENTS = {"index": "weights on", "compile": "compiling the step", "step": f"/{STEPS} ", "save": ""}


class Run:
    """The command in a terminal of its own."""

    def __init__(self, workdir: pathlib.Path):
        self.workdir = workdir
        pid, self._terminal = pty.fork()
        if pid == 0:
            line = commands.command_line("train", "--config=configs/template.py", f"--workdir={workdir}", *FLAGS)
            os.chdir(commands.ROOT)
            os.execve(line[0], line, commands.environment())
        self._pid, self.output, self.status = pid, "", None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the terminal is closed
            while chunk := os.read(self._terminal, 4096):
                self.output += chunk.decode(errors="replace")

    def has_ended(self) -> bool:
        """Whether it has; ``status`` is then its exit status, or minus the signal that killed it."""
        if self.status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status is not None

    def wait(self) -> int:
        while not self.has_ended():
            time.sleep(0.01)
        self._reader.join(timeout=5)
        return self.status

    def reaches(self, moment: str, rng: random.Random) -> bool:
        """Waits for the moment and a little longer; False if the run has ended before."""
        while not self.has_ended():
            # Only once steps are taken: a run that was killed in a save has left such a folder too.
            saving = MOMENTS["step"] in self.output and any(self.workdir.glob("checkpoints/*.orbax-checkpoint-tmp"))
            if saving if moment == "save" else MOMENTS[moment] in self.output:
                time.sleep(rng.uniform(0, {"index": 0.5, "compile": 5, "step": 3, "save": 0.02}[moment]))
                return not self.has_ended()
            time.sleep(0.002)
        return False

    def stop(self, how: str) -> None:
        if how == CLOSED:
            os.close(self._terminal)
        elif how == FULL:
            with contextlib.suppress(OSError), open(self.workdir.parent / "ballast", "wb") as file:
                while True:
                    file.write(bytes(1 << 16))
        else:
            os.kill(self._pid, SIGNALS[how])


def soak(workdir: pathlib.Path, stops: int, seed: int, kinds: list[str]) -> Iterator[tuple]:
    """Stops the run so often, each time as soon as the moment has come, and finishes it."""
    rng = random.Random(seed)
    pairs = list(itertools.product(kinds, MOMENTS))
    rng.shuffle(pairs)
    for how, moment in itertools.islice(itertools.cycle(pairs), stops):
        run = Run(workdir)
        if not run.reaches(moment, rng):
            run.wait()
            raise SystemExit(
                f"the run has ended with {run.status} before {how} at {moment}; it needs more steps\n{run.output}"
            )
        run.stop(how)
        status = run.wait()
        (workdir.parent / "ballast").unlink(missing_ok=True)
        said = [line for line in run.output.splitlines() if re.match(r"error:|interrupted|Traceback", line)]
        assert "Traceback" not in run.output, run.output[:4000]
        resumed = re.search(r"resuming from step (\d+)", run.output)
        yield (
            how,
            moment,
            status,
            int(resumed[1]) if resumed else 0,
            said[-1].replace(str(workdir.parent), "DIR") if said else "",
        )
    assert Run(workdir).wait() == 0


def state(workdir: pathlib.Path) -> dict:
    """All arrays of the last checkpoint."""
    folder = workdir / "checkpoints" / f"{STEPS:08d}"
    trees = {name: ocp.StandardCheckpointer().restore(folder / name) for name in ("params", "ema", "opt")}
    leaves = jax.tree_util.tree_leaves_with_path(trees)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def curve(workdir: pathlib.Path) -> list:
    with open(workdir / "metrics.csv", newline="") as file:
        return [[row[name] for name in ("step", "loss", "ce", "mse", "grad_norm")] for row in csv.DictReader(file)]


@contextlib.contextmanager
def small_disk(folder: pathlib.Path) -> Iterator[bool]:
    """Mounts a file system of 64 MiB on the folder, if this user may; says whether."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "soak", folder], capture_output=True)
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, small_disk(pathlib.Path(folder)) as disk:
        whole, disturbed = pathlib.Path(folder) / "whole", pathlib.Path(folder) / "disturbed"
        assert Run(whole).wait() == 0
        rows = []
        for row in soak(disturbed, arguments.stops, arguments.seed, [*SIGNALS, CLOSED, *[FULL] * disk]):
            rows.append(row)
            print(len(rows), *row, flush=True)
        expected, found = state(whole), state(disturbed)
        assert expected.keys() == found.keys()
        differing = [name for name in expected if expected[name].tobytes() != found[name].tobytes()]
        assert not differing, differing
        assert curve(whole) == curve(disturbed)
    text = page(rows, len(expected), arguments, time.monotonic() - start)
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


def page(rows: list[tuple], arrays: int, arguments: argparse.Namespace, seconds: float) -> str:
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    table = "\n".join(f"| {i} | {' | '.join(map(str, row))} |" for i, row in enumerate(rows, start=1))
    return f"""# Soak

`python -m tests.launch.soak --stops {arguments.stops} --seed {arguments.seed}`, commit {commit}, {platform.machine()}
CPU with {os.cpu_count()} cores, {datetime.date.today().isoformat()}, {seconds / 60:.0f} minutes.

A run of {STEPS} steps of the shapes world with a tiny model, stopped {len(rows)} times and each time started again with
the same command. All {arrays} arrays of its last checkpoint (parameters, EMA, optimizer state) and its table of metrics
are those of an undisturbed run, bit for bit.

| stop | how | while | status | had resumed from step | last line |
|---|---|---|---|---|---|
{table}

Status: 130 after the state was saved or before the first step; 2 where the disk was full; minus a signal's number where
it killed the process at once. Step 0: from the start, or stopped before the step was said.
"""


if __name__ == "__main__":
    main()

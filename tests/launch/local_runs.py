"""Runs of launch/local.sh for real, on data that all runs of a test share."""

import csv
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from tests import commands
from tests.launch.world import LAUNCH

GRACE = 5  # seconds that local.sh waits for the other processes


class LocalRun:
    """A run in the folder NAME, with one row of a batch on each device; its output is in NAME.log.

    Args:
      root: the folder with the data of all runs.
      name: of the run.
      processes: their number.
      devices: of each process.
      steps: of the training.
      options: of local.sh.
      faults: whether a test can let the storage fail, see faults.py.
      config: values of the config; dots in their keys are two underscores.
    """

    def __init__(self, root, name, *options, processes, devices=1, steps, faults=False, **config):
        self.workdir, self.log, self._faults = root / name, root / f"{name}.log", root / f"{name}.faults"
        data = [f"--config.data.sources.shapes.dir={root}/shapes", f"--config.data.tokenizer={root}/tokenizer"]
        sizes = commands.small(steps=steps, data__batch_size=processes * devices, log__every=1, **config)
        training = ["--config=template", f"--workdir={self.workdir}", *data, *sizes]
        # The arguments of these tests are right, and the check would cost seconds.
        own = [f"--processes={processes}", f"--devices={devices}", f"--grace={GRACE}", "--unchecked", *options]
        self._line = [LAUNCH / "local.sh", *own, "--", *training]
        programs = pathlib.Path(sys.executable).parent
        self._environment = commands.environment()
        if faults:
            self._faults.mkdir()
            programs = self._faults / "bin"
            programs.mkdir()
            # It is called as python -m irg_jax.train ARGUMENT...
            text = f'#!/bin/bash\nexec {sys.executable} -m tests.launch.faults "${{@:3}}"\n'
            (programs / "python").write_text(text)
            (programs / "python").chmod(0o755)
            self._environment["FAULTS"] = str(self._faults)
        self._environment["PATH"] = f"{programs}:{os.environ['PATH']}"
        self._process = None

    def start(self):
        """Starts it, or resumes it."""
        with self.log.open("a") as file:
            self._process = subprocess.Popen(
                self._line, cwd=commands.ROOT, env=self._environment, stdout=file, stderr=subprocess.STDOUT
            )
        return self

    def wait(self, seconds=400):
        """Waits until it ends; gives its exit status."""
        return self._process.wait(seconds)

    def wait_until(self, happened, seconds=300):
        """Waits until the function gives something true, which is returned."""
        limit = time.monotonic() + seconds
        while not (found := happened()):
            assert self._process.poll() is None and time.monotonic() < limit, self.text()
            time.sleep(0.05)
        return found

    def wait_for_text(self, text, seconds=300):
        """Waits until its output has the text."""
        self.wait_until(lambda: text in self.text(), seconds)

    def wait_for_checkpoint(self):
        """Waits until the first checkpoint is complete."""
        self.wait_until(self.checkpoints)

    def text(self):
        """Its output so far."""
        return self.log.read_text()

    def errors(self):
        """The lines of its output that local.sh has printed about errors."""
        return [line for line in self.text().splitlines() if line.startswith("error: ")]

    def checkpoints(self):
        """The steps that are saved."""
        return sorted(int(path.name) for path in self.workdir.glob("checkpoints/*") if path.name.isdigit())

    def losses(self):
        """The loss of each step."""
        with (self.workdir / "metrics.csv").open() as file:
            return {int(float(row["step"])): float(row["loss"]) for row in csv.DictReader(file)}

    def processes(self):
        """The ids of the processes that train, by index."""
        found = {}
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words, environment = (
                    (folder / name).read_bytes().decode().split("\0") for name in ("cmdline", "environ")
                )
            except OSError:  # it has exited, or belongs to another user
                continue
            if f"--workdir={self.workdir}" in words:
                found |= {
                    int(value[-1]): int(folder.name) for value in environment if value.startswith("JAX_PROCESS_ID=")
                }
        return found

    def signal(self, index, number):
        """Sends a signal to one of the processes."""
        os.kill(self.processes()[index], number)

    def fail(self, what, index, times=None):
        """From now on, the data or the checkpoints of that process fail: so many times, or until ``mend``."""
        (self._faults / f"{what}-{index}").write_text("" if times is None else str(times))

    def mend(self, what, index):
        """Ends ``fail``."""
        (self._faults / f"{what}-{index}").unlink()

    def end(self):
        """Kills what is left, and deletes the run's folder."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            for pid in self.processes().values():
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)
            self._process.wait(60)
        shutil.rmtree(self.workdir, ignore_errors=True)

"""launch/local.sh for real: two processes train, and end together when one of them is killed."""

import csv
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from tests import commands
from tests.launch.world import LAUNCH

STEPS, GRACE = 3, 5

pytestmark = pytest.mark.skipif(not pathlib.Path("/proc").is_dir(), reason="processes are looked up in /proc")


def start(root, name):
    """Starts two processes with one device each that train in the folder NAME; all output goes to NAME.log."""
    data = [f"--config.data.dir={root}/shapes", f"--config.data.tokenizer={root}/tokenizer"]
    sizes = commands.small(steps=STEPS, data__batch_size=2, log__every=1)
    training = ["--config=shapes_stage1", f"--workdir={root / name}", *data, *sizes]
    environment = commands.environment()
    environment["PATH"] = f"{pathlib.Path(sys.executable).parent}:{environment['PATH']}"
    with (root / f"{name}.log").open("w") as file:
        line = [LAUNCH / "local.sh", "--devices=1", f"--grace={GRACE}", "--", *training]
        return subprocess.Popen(line, cwd=commands.ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)


def trainers(workdir):
    """The ids of the processes that train there, by process index."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words, environment = ((folder / name).read_bytes().decode().split("\0") for name in ("cmdline", "environ"))
        except OSError:  # it has exited, or belongs to another user
            continue
        if "irg_jax.train" in words and f"--workdir={workdir}" in words:
            (number,) = [value[-1] for value in environment if value.startswith("JAX_PROCESS_ID=")]
            found[int(number)] = int(folder.name)
    return found


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder with the data of all runs."""
    return tmp_path_factory.mktemp("local")


def test_local_trains_with_both_processes(root):
    status = start(root, "whole").wait(400)
    log = (root / "whole.log").read_text()
    assert status == 0, log
    assert "weights on 2 device(s)" in log and f"{STEPS}/{STEPS}" in log
    with (root / "whole/metrics.csv").open() as file:
        assert [int(float(row["step"])) for row in csv.DictReader(file)] == list(range(1, STEPS + 1))
    # Each process has written its shards.
    (params,) = root.glob(f"whole/checkpoints/*{STEPS}/params")
    assert sorted(folder.name for folder in params.glob("ocdbt.*")) == ["ocdbt.process_0", "ocdbt.process_1"]


@pytest.mark.parametrize("number", [0, 1])
def test_local_ends_with_a_message_when_a_process_is_killed(root, number):
    name = f"killed{number}"
    process, log = start(root, name), root / f"{name}.log"
    limit = time.monotonic() + 300
    # Both have joined, and compile the step.
    while "weights on 2 device(s)" not in log.read_text():
        assert process.poll() is None and time.monotonic() < limit, log.read_text()
        time.sleep(0.05)
    running = trainers(root / name)
    assert sorted(running) == [0, 1]
    os.kill(running[number], signal.SIGKILL)
    # Beyond the grace period, time for the shell.
    assert process.wait(GRACE + 60) == 128 + signal.SIGKILL
    errors = [line for line in log.read_text().splitlines() if line.startswith("error: ")]
    assert errors[0] == f"error: process {number} exited with status 137, the others are stopped; see its last lines"
    assert f"{STEPS}/{STEPS}" not in log.read_text() and trainers(root / name) == {}

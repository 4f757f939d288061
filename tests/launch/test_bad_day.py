"""A pod's bad day, played by launch/local.sh: whatever happens, the run goes on with the losses of an undisturbed one.

One of the tests always runs. The others take minutes and run only when asked for:

    launch/test.sh -n 0 -m slow tests/launch/test_bad_day.py
"""

import pathlib
import signal
import time

import pytest

from tests.launch.local_runs import GRACE, LocalRun

pytestmark = pytest.mark.skipif(not pathlib.Path("/proc").is_dir(), reason="processes are looked up in /proc")

STEPS = 10
EVERY = dict(checkpoint__every=2)
LONG = 40
LONG_EVERY = dict(checkpoint__every=5, log__stall_factor=5.0)
KILLED, STOPPED, STORAGE = 137, 130, 75


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The folder with the data of all runs."""
    return tmp_path_factory.mktemp("local")


@pytest.fixture
def new_run(root, request):
    """Makes runs, which end with the test."""
    runs = []

    def make(*options, **settings):
        name = f"{request.node.name}.{len(runs)}"
        runs.append(LocalRun(root, name, *options, **settings))
        return runs[-1]

    yield make
    for run in runs:
        run.end()


def undisturbed(root, processes, steps, every):
    """The losses of one process on as many devices."""
    run = LocalRun(root, f"undisturbed{processes}", processes=1, devices=processes, steps=steps, **every).start()
    assert run.wait() == 0, run.text()
    return run.losses()


@pytest.fixture(scope="module")
def of_two(root):
    return undisturbed(root, 2, STEPS, EVERY)


@pytest.fixture(scope="module")
def of_four(root):
    return undisturbed(root, 4, LONG, LONG_EVERY)


# --- always


def test_local_ends_with_a_message_when_the_first_process_is_killed(new_run):
    run = new_run(processes=2, steps=STEPS, **EVERY).start()
    # Both have joined, and compile the step.
    run.wait_for_text("weights on 2 device(s)")
    assert sorted(run.processes()) == [0, 1]
    run.signal(0, signal.SIGKILL)
    # Beyond the grace period, time for the shell.
    assert run.wait(GRACE + 60) == KILLED
    assert run.errors()[0] == "error: process 0 exited with status 137, the others are stopped; see its last lines"
    assert f"{STEPS}/{STEPS}" not in run.text() and run.processes() == {}


# --- when asked for


@pytest.mark.slow
def test_local_starts_again_when_a_process_is_killed_and_the_losses_are_an_undisturbed_runs(new_run, of_two):
    run = new_run("--max_restarts=1", processes=2, steps=STEPS, **EVERY).start()
    run.wait_for_checkpoint()
    run.signal(1, signal.SIGKILL)
    assert run.wait() == 0, run.text()
    assert run.errors()[0] == "error: process 1 exited with status 137, the others are stopped; see its last lines"
    assert "starting all processes again, restart 1 of 1" in run.text() and "resuming from step" in run.text()
    assert run.losses() == pytest.approx(of_two, rel=1e-5)
    # Each process has written its shards.
    (params,) = run.workdir.glob(f"checkpoints/*{STEPS}/params")
    assert sorted(folder.name for folder in params.glob("ocdbt.*")) == ["ocdbt.process_0", "ocdbt.process_1"]


@pytest.mark.slow
def test_a_killed_process(new_run, of_four):
    run = new_run("--max_restarts=1", processes=4, steps=LONG, **LONG_EVERY).start()
    run.wait_for_checkpoint()
    killed = time.monotonic()
    run.signal(2, signal.SIGKILL)
    run.wait_for_text("starting all processes again")
    assert time.monotonic() - killed < GRACE + 10
    assert run.wait(900) == 0, run.text()
    assert run.losses() == pytest.approx(of_four, rel=1e-5)


@pytest.mark.slow
def test_a_process_whose_data_is_gone_for_20_seconds(new_run, of_four):
    run = new_run(processes=4, steps=LONG, faults=True, **LONG_EVERY).start()
    run.wait_for_checkpoint()
    run.fail("data", 1)
    time.sleep(20)
    run.mend("data", 1)
    assert run.wait(900) == 0, run.text()
    assert "cannot be read (Transport endpoint is not connected); next try in" in run.text()
    assert run.losses() == pytest.approx(of_four, rel=1e-5)


@pytest.mark.slow
def test_a_process_whose_data_stays_away(new_run, of_four):
    run = new_run("--max_restarts=1", processes=4, steps=LONG, faults=True, **LONG_EVERY).start()
    run.wait_for_checkpoint()
    run.fail("data", 1)
    # After about a minute of trying, with the same status on all of them.
    run.wait_for_text("starting all processes again")
    run.mend("data", 1)
    assert f"exited with status {STORAGE}" in run.errors()[0]
    assert run.wait(900) == 0, run.text()
    assert run.losses() == pytest.approx(of_four, rel=1e-5)


@pytest.mark.slow
def test_a_process_that_gets_sigterm(new_run, of_four):
    run = new_run(processes=4, steps=LONG, **LONG_EVERY).start()
    run.wait_for_checkpoint()
    run.signal(3, signal.SIGTERM)
    assert run.wait(300) == STOPPED, run.text()
    # All have saved the same step, and none was ended by a signal or an error.
    stopped_at = run.checkpoints()[-1]
    assert stopped_at < LONG and run.errors() == []
    run.start()
    assert run.wait(900) == 0, run.text()
    assert f"resuming from step {stopped_at}" in run.text()
    assert run.losses() == pytest.approx(of_four, rel=1e-5)


@pytest.mark.slow
def test_a_process_that_stands_still_for_a_minute(new_run, of_four):
    run = new_run(processes=4, steps=LONG, **LONG_EVERY).start()
    run.wait_for_checkpoint()
    run.signal(1, signal.SIGSTOP)
    time.sleep(60)
    run.signal(1, signal.SIGCONT)
    assert run.wait(900) == 0, run.text()
    assert "no step has ended for" in run.text() and "process 1 on" in run.text()
    assert run.losses() == pytest.approx(of_four, rel=1e-5)


@pytest.mark.slow
def test_storage_that_answers_with_errors_three_times(new_run, of_four):
    run = new_run("--max_restarts=3", processes=4, steps=LONG, faults=True, **LONG_EVERY).start()
    run.wait_for_checkpoint()
    run.fail("data", 0, times=3)
    # Processes cannot repeat a checkpoint in step: they end, and start again.
    run.fail("checkpoints", 2, times=3)
    assert run.wait(1800) == 0, run.text()
    assert run.text().count("starting all processes again") == 3
    assert run.text().count("next try in") == 3
    assert all(f"exited with status {STORAGE}" in line for line in run.errors() if "exited with status" in line)
    assert run.losses() == pytest.approx(of_four, rel=1e-5)

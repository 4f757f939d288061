"""launch/local.sh with a stand-in for Python: environment, output, and how the processes end."""

import contextlib
import os
import pty

import pytest

from tests.launch.world import FOLDERS, LAUNCH, failed

# How a stand-in for Python begins: the check of the arguments finds nothing.
CHECKED = "[[ $1 == -c || $* == *--check_only* ]] && exit; "


def test_local_sets_the_index_and_devices_of_each_process(world):
    world.answer({"python": [[[], [["loaded\nno newline", 0, 0]]]]})
    process = world.run("local.sh", "--processes=3", "--devices=5", "--", *FOLDERS, XLA_FLAGS="--a=b")
    assert process.returncode == 0 and process.stderr == ""
    expected = [f"[{number}] {line}" for number in range(3) for line in ("loaded", "no newline")]
    assert sorted(process.stdout.splitlines()) == sorted(expected)
    calls = sorted(world.calls(), key=lambda call: call["environment"]["JAX_PROCESS_ID"])
    assert [call["environment"]["JAX_PROCESS_ID"] for call in calls] == ["0", "1", "2"]
    assert len({call["environment"]["JAX_COORDINATOR_ADDRESS"] for call in calls}) == 1
    for call in calls:
        assert call["arguments"] == ["-m", "irg_jax.train", *FOLDERS]
        assert call["environment"]["JAX_NUM_PROCESSES"] == "3"
        assert call["environment"]["XLA_FLAGS"] == "--a=b --xla_force_host_platform_device_count=5"


def test_local_stops_the_others_when_one_fails(world):
    fails = CHECKED + "((JAX_PROCESS_ID == 1)) && { until [[ -e ~/0 && -e ~/2 ]]; do sleep 0.05; done; exit 7; }"
    world.program(
        world.bin / "python", f'{fails}; trap "echo saved; exit 130" TERM; touch ~/"$JAX_PROCESS_ID"; sleep 30 & wait'
    )
    process = world.run("local.sh", "--processes=3", "--", *FOLDERS)
    failed(process, 7, "process 1", "exited with status 7")
    assert sorted(process.stdout.splitlines()) == ["[0] saved", "[2] saved"]
    assert list(world.home.parent.glob("tmp.*")) == []


def test_local_kills_a_process_that_does_not_stop(world):
    fails = CHECKED + "((JAX_PROCESS_ID == 0)) && { until [[ -e ~/1 ]]; do sleep 0.05; done; exit 3; }"
    world.program(world.bin / "python", f'{fails}; trap "" TERM; touch ~/1; sleep 30')
    process = world.run("local.sh", "--grace=1", "--", *FOLDERS)
    assert process.returncode == 3
    stopped, killed = process.stderr.splitlines()
    assert "process 0 exited with status 3" in stopped and "process 1 did not exit in 1 s" in killed


def test_local_ctrl_c_reaches_every_process_once(world):
    world.answer({"python": [[[], [["", 0, 30]]]]})
    child, terminal = pty.fork()
    if child == 0:
        os.execve(LAUNCH / "local.sh", ["local.sh", "--", *FOLDERS], world.environment)
    world.wait_for("JAX_PROCESS_ID", count=2)
    os.write(terminal, b"\x03")
    with contextlib.suppress(OSError):  # a terminal whose program has ended reads as an error
        while os.read(terminal, 1000):
            pass
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
    signals = [(call["signal"], call["environment"]["JAX_PROCESS_ID"]) for call in world.calls() if "signal" in call]
    assert sorted(signals) == [("SIGINT", "0"), ("SIGINT", "1")]


@pytest.mark.parametrize(
    "status, restarts, ends_with", [(75, 1, 0), (137, 1, 0), (134, 0, 134), (75, 3, 75), (2, 1, 2), (130, 1, 130)]
)
def test_local_starts_again_after_a_failure_that_is_not_the_users(world, status, restarts, ends_with):
    # The first process fails the first time or, where three restarts are allowed, every time.
    times = restarts if restarts < 3 else 9
    fails = f"echo >>~/starts; (( $(wc -l <~/starts) <= {times} || {restarts} == 0 )) && exit {status}"
    world.program(world.bin / "python", f"{CHECKED} if ((JAX_PROCESS_ID == 0)); then {fails}; exit 0; fi; sleep 0.2")
    process = world.run("local.sh", f"--max_restarts={restarts}", "--", *FOLDERS)
    assert process.returncode == ends_with, process.stderr
    starts = (world.home / "starts").read_text().count("\n")
    assert starts == (1 if status in (2, 130) else 1 + restarts)
    assert process.stderr.count("starting all processes again") == starts - 1


def test_local_leaves_the_others_time_to_save_when_one_was_stopped(world):
    saves = 'trap "echo signal" TERM; touch ~/1; sleep 0.5; echo saved; exit 130'
    stopped = "until [[ -e ~/1 ]]; do sleep 0.05; done; exit 130"
    world.program(world.bin / "python", f"{CHECKED} if ((JAX_PROCESS_ID == 0)); then {stopped}; fi; {saves}")
    process = world.run("local.sh", "--", *FOLDERS)
    assert process.returncode == 130 and process.stdout == "[1] saved\n"

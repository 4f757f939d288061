"""launch/slurm, with stand-ins for sbatch, srun and scontrol: the exact calls, and what follows from an exit status."""

import os
import signal
import subprocess
import sys

import pytest

from tests.launch.world import FOLDERS, LAUNCH, ROOT


def test_slurm_submits_a_task_per_gpu_or_per_node(world):
    world.run("slurm/submit.sh", "--nodes=4", "--gpus_per_node=8", "--account=a", "--time=2:00:00", "--", *FOLDERS)
    world.run("slurm/submit.sh", "--process_per=node", "--", *FOLDERS)
    first, second = world.lines()
    assert first == [
        *["sbatch", "--job-name=irg_jax", f"--chdir={ROOT}", "--time=2:00:00", "--nodes=4", "--gpus-per-node=8"],
        *["--ntasks-per-node=8", "--account=a", str(LAUNCH / "slurm/train.sbatch"), "--max_restarts=10"],
        *["--", *FOLDERS],
    ]
    assert "--ntasks-per-node=1" in second


@pytest.mark.parametrize("tasks, devices", [("8", None), ("1", "0,1,2,3")])
def test_slurm_runs_training_in_every_task(world, tasks, devices):
    job = {"SLURM_NTASKS_PER_NODE": tasks, "SLURM_GPUS_ON_NODE": "4", "SLURM_JOB_ID": "42"}
    assert world.run("slurm/train.sbatch", "--", *FOLDERS, **job).returncode == 0
    (call,) = world.calls()
    assert call["arguments"][-len(FOLDERS) - 3 :] == ["python", "-m", "irg_jax.train", *FOLDERS]
    # The others hear of a failure and end with its status; killed, they would give srun another one.
    assert {"--kill-on-bad-exit=0", "--wait=60"} < set(call["arguments"])
    assert call["environment"]["IRG_DISTRIBUTED"] == "auto" and "--xla_gpu" in call["environment"]["XLA_FLAGS"]
    assert call["environment"].get("JAX_LOCAL_DEVICE_IDS") == devices


@pytest.mark.parametrize("number, requeued", [(signal.SIGUSR1, [["scontrol", "requeue", "42"]]), (signal.SIGTERM, [])])
def test_slurm_saves_and_is_requeued_at_its_time_limit(world, number, requeued):
    world.answer({"srun": [[[], [["", 0, 30]]]]})
    process = world.start("slurm/train.sbatch", "--", *FOLDERS, SLURM_JOB_ID="42")
    world.wait_for("srun")
    process.send_signal(number)
    assert process.wait(10) == 130
    assert [call["signal"] for call in world.calls() if "signal" in call] == ["SIGTERM"]
    assert world.lines()[1:] == requeued


@pytest.mark.parametrize(
    "status, restarts, requeued",
    [(0, 0, False), (1, 0, True), (2, 0, False), (75, 2, True), (75, 3, False), (130, 0, False), (137, 0, True)],
)
def test_slurm_requeues_after_a_failure_that_is_not_the_users_as_often_as_allowed(world, status, restarts, requeued):
    world.answer({"srun": [[[], [["", status, 0]]]]})
    job = {"SLURM_JOB_ID": "42", "SLURM_RESTART_COUNT": str(restarts)}
    process = world.run("slurm/train.sbatch", "--max_restarts=3", "--", *FOLDERS, **job)
    assert process.returncode == status
    assert world.lines()[1:] == [["scontrol", "requeue", "42"]] * requeued
    assert ("restarted 3 times" in process.stderr) == (restarts == 3)


def test_jaxlib_knows_the_slurm_flags_and_those_of_the_user_come_last():
    command = ["bash", "-c", 'source launch/slurm/flags.sh && echo "$XLA_FLAGS"']
    printed = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"XLA_FLAGS": "--mine"}, capture_output=True, text=True
    )
    *flags, mine = printed.stdout.split()
    assert flags and mine == "--mine"
    # An unknown flag stops jax.
    environment = os.environ | {"XLA_FLAGS": " ".join(flags), "JAX_PLATFORMS": "cpu"}
    line = [sys.executable, "-c", "import jax; jax.devices()"]
    started = subprocess.run(line, env=environment, capture_output=True, text=True)
    assert started.returncode == 0, started.stderr

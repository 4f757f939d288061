"""Runs of several processes: any mesh, any number of processes, the same losses; and one failure ends all of them."""

import csv
import shutil
import socket
import subprocess
import sys

import pytest

from irg_jax.core.errors import UserError
from irg_jax.sharding import processes
from tests import commands

STEPS, SAVED = 3, 2
MESHES = ("fsdp8", "context8", "tensor8", "data2.context4", "fsdp4.tensor2", "context4.tensor2")


def start(count, *arguments, module="tests.sharding.worker", devices=8):
    """Starts a module as one or several processes that share so many CPU devices."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    flags = f"--xla_force_host_platform_device_count={devices // count} --xla_backend_optimization_level=0"
    environment = commands.environment() | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    started = []
    for index in range(count):
        if count > 1:
            names = {"COORDINATOR_ADDRESS": address, "NUM_PROCESSES": count, "PROCESS_ID": index}
            environment |= {f"JAX_{name}": str(value) for name, value in names.items()}
        line = [sys.executable, "-m", module, *map(str, arguments)]
        started.append(
            subprocess.Popen(
                line, cwd=commands.ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    return started


def train(root, count, *runs, devices=8):
    """Trains runs MESH=FOLDER to the last step; returns the outputs of the processes."""
    started = start(count, root / "data", root, STEPS, *runs, devices=devices)
    outputs = [process.communicate(timeout=900)[0] for process in started]
    assert [process.returncode for process in started] == [0] * count, outputs
    return outputs


def losses(workdir):
    with (workdir / "metrics.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def copy_as_of(step, run, copy):
    """A copy of a run as it was when this step was saved."""
    shutil.copytree(run, copy)
    for folder in (copy / "checkpoints").iterdir():
        if folder.name.isdigit() and int(folder.name) > step:
            shutil.rmtree(folder)


def data_state(run):
    """The position of the data iterator in the last checkpoint."""
    return (run / "checkpoints" / f"{STEPS:08d}" / "meta" / "metadata").read_text().partition('"data"')[2]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs on four devices: of one process; and one that goes on from there with two, whose rows span both."""
    root = tmp_path_factory.mktemp("processes")
    train(root, 1, "fsdp4=one", devices=4)
    copy_as_of(SAVED, root / "one", root / "one_then_two")
    return root, train(root, 2, "context2.tensor2=one_then_two", devices=4)


def test_processes_and_meshes_change_neither_losses_nor_the_position_in_the_data(runs):
    root, _ = runs
    run = "one_then_two"
    assert losses(root / run) == pytest.approx(losses(root / "one"), rel=1e-5)
    assert data_state(root / run) == data_state(root / "one")


def test_only_the_primary_process_logs(runs):
    _, (first, *others) = runs
    assert f"{STEPS}/{STEPS}" in first
    assert f"resuming from step {SAVED}" in first
    assert not any(f"{STEPS}/{STEPS}" in other for other in others)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES)
def test_every_mesh_trains_alike_on_one_two_and_four_processes(tmp_path, mesh):
    root = tmp_path
    train(root, 1, f"{mesh}=one")
    copy_as_of(SAVED, root / "one", root / "one_then_two")
    train(root, 2, f"{mesh}=two", f"{mesh}=one_then_two")
    copy_as_of(SAVED, root / "two", root / "two_then_four")
    train(root, 4, f"{mesh}=four", f"{mesh}=two_then_four")
    copy_as_of(SAVED, root / "four", root / "four_then_one")
    train(root, 1, f"{mesh}=four_then_one")
    for run in ("two", "four", "one_then_two", "two_then_four", "four_then_one"):
        assert losses(root / run) == pytest.approx(losses(root / "one"), rel=1e-5), run
        assert data_state(root / run) == data_state(root / "one"), run


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failure_of_one_process_ends_all_with_its_message_and_status(failing):
    """The others wait for a device that never answers."""
    started = start(2, failing, module="tests.sharding.failing_worker", devices=2)
    outputs = [process.communicate(timeout=90)[0] for process in started]  # jax itself would wait for 100 s
    assert [process.returncode for process in started] == [75] * 2, outputs
    for index, output in enumerate(outputs):
        told = f"error: process {failing} on {socket.gethostname()} failed: data/17.parquet: Input/output error"
        assert (told in output) == (index != failing), output


def test_a_single_process_waits_for_nobody():
    done = []
    processes.run_on_primary(lambda: done.append(1), "work")
    processes.wait_for_all("end")
    processes.announce_failure("nobody hears this", 2)
    assert done == [1]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"JAX_PROCESS_ID": "0"}, "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES not"),
        (
            {"JAX_COORDINATOR_ADDRESS": "localhost:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "2"},
            "JAX_PROCESS_ID: 2 of JAX_NUM_PROCESSES 2",
        ),
    ],
)
def test_incomplete_environment_variables_are_refused(monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        processes.initialize()

"""Two processes with four devices train like one with eight, and each resumes from the other's checkpoint."""

import csv
import shutil
import socket
import subprocess
import types

import numpy as np
import pytest

from irg_jax.core.errors import ConfigError, UserError
from irg_jax.sharding import processes
from tests import commands

STEPS, SAVED = 4, 2


def flags(workdir, data):
    sizes = commands.small(steps=STEPS, data__batch_size=8, checkpoint__every=SAVED, checkpoint__keep=9, log__every=1)
    paths = [f"--config.data.dir={data}/shapes", f"--config.data.tokenizer={data}/tokenizer"]
    return ["--config=configs/shapes_stage1.py", f"--workdir={workdir}", *sizes, *paths]


def train(workdir, data, count):
    """Runs the command as one or several processes that find each other; their outputs."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    started = []
    for index in range(count):
        environment = commands.environment()
        environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={8 // count}"
        environment["JAX_PLATFORMS"] = "cpu"
        if count > 1:
            names = {"COORDINATOR_ADDRESS": address, "NUM_PROCESSES": count, "PROCESS_ID": index}
            environment |= {f"JAX_{name}": str(value) for name, value in names.items()}
        line = commands.command_line("train", *flags(workdir, data))
        started.append(
            subprocess.Popen(
                line, cwd=commands.ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
    outputs = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0] * count, outputs
    return outputs


def losses(workdir):
    with (workdir / "metrics.csv").open() as file:
        return {int(float(row["step"])): float(row["loss"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs trained by one process and by two, on the same data."""
    root = tmp_path_factory.mktemp("distributed")
    train(root / "one", root / "data", 1)
    return root, train(root / "two", root / "data", 2)


def test_two_processes_have_the_losses_of_one(runs):
    root, _ = runs
    one, two = losses(root / "one"), losses(root / "two")
    assert list(one) == list(two) == [1, 2, 3, 4]
    assert two == pytest.approx(one, rel=1e-5)


def test_only_the_primary_process_logs(runs):
    _, (first, second) = runs
    assert "step" in first or f"{STEPS}/{STEPS}" in first
    assert f"{STEPS}/{STEPS}" not in second


@pytest.mark.parametrize(("before", "after"), [("two", 1), ("one", 2)])
def test_a_run_resumes_with_another_number_of_processes(runs, before, after, tmp_path):
    root, _ = runs
    workdir = tmp_path / "run"
    shutil.copytree(root / before, workdir)
    for folder in (workdir / "checkpoints").glob(f"*{STEPS}"):
        shutil.rmtree(folder)
    outputs = train(workdir, root / "data", after)
    assert f"resuming from step {SAVED}" in outputs[0]
    assert losses(workdir) == pytest.approx(losses(root / "one"), rel=1e-4)


@pytest.mark.parametrize(
    ("axes", "accepted"),
    [
        (dict(data=2, fsdp=4, context=1, tensor=1), True),
        (dict(data=1, fsdp=2, context=4, tensor=1), True),
        (dict(data=1, fsdp=4, context=1, tensor=2), True),
        (dict(data=1, fsdp=1, context=8, tensor=1), False),
        (dict(data=1, fsdp=1, context=1, tensor=8), False),
        (dict(data=1, fsdp=1, context=4, tensor=2), False),
    ],
)
def test_a_row_that_several_processes_share_is_refused(axes, accepted):
    """Two processes with four devices each, as a mesh of real devices would list them."""
    devices = [types.SimpleNamespace(process_index=i // 4) for i in range(8)]
    mesh = types.SimpleNamespace(shape=axes, devices=np.array(devices).reshape(*axes.values()))
    if accepted:
        processes.check_rows_are_local(mesh)
    else:
        with pytest.raises(ConfigError, match=r"config.mesh: context \d x tensor \d puts a row on 2 processes"):
            processes.check_rows_are_local(mesh)


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

"""Stages: what is checked before anything is allocated, and how runs resume, change and stay what they are."""

import json
import re
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from irg_jax.checkpoints.weights import Origin, check_origin, digest, model_weights, open_stage
from irg_jax.core.config.files import load
from irg_jax.core.config.schema import replaced
from irg_jax.core.errors import ConfigError, UserError
from irg_jax.experiment import stages
from irg_jax.experiment.config import parse_config
from irg_jax.models.lora import LoRAConfig
from irg_jax.sharding.mesh import make_mesh
from irg_jax.training import trainer
from irg_jax.worlds.shapes import dataset
from tests import commands
from tests.commands import SMALL


@pytest.fixture(scope="module")
def config():
    return parse_config(load("irg_7b_stage1"))


def test_a_mesh_of_another_machine_is_laid_out_without_it(config):
    longer = replaced(config, {"mesh.context": 8})
    assert stages.check(longer, devices=64) == {"train": dict(data=1, fsdp=8, context=8, tensor=1)}


@pytest.mark.parametrize(
    ("changes", "devices", "slices", "message"),
    [
        ({}, 64, 1, "config.data.batch_size: 8 rows do not divide over 64 devices"),
        ({"mesh.context": 3}, 64, 1, "config.mesh: .* does not make 64 devices"),
        ({"mesh.context": 16}, 128, 2, "config.mesh.data: 1 must be a multiple of the 2 slices"),
        ({"mesh.tensor": 64}, 64, 1, "config.mesh.tensor: 64 does not divide the 4304 of vit"),
    ],
)
def test_what_cannot_be_laid_out_is_refused_by_its_key(config, changes, devices, slices, message):
    with pytest.raises(ConfigError, match=message):
        stages.check(replaced(config, changes), devices=devices, slices=slices)


def test_all_stages_of_an_experiment_are_checked():
    assert list(stages.check(parse_config(load("shapes_quickstart")), devices=1)) == ["stage1", "stage2"]


# --- runs


@pytest.fixture(scope="module")
def stage():
    sizes = {"checkpoint.every": 1, "checkpoint.keep": 5}
    return replaced(parse_config(load("template")), {"optim.warmup_steps": 0} | SMALL | sizes)


@pytest.fixture(scope="module", autouse=True)
def one_device():
    """Compiling for one device takes a fraction of the time."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (stages, trainer):
            patch.setattr(module, "make_mesh", lambda axes: make_mesh(axes, jax.devices()[:1]))
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory, stage):
    folder = tmp_path_factory.mktemp("runs") / "trained"
    stages.run(stage, folder)
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a run of two steps."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def elsewhere(stage, trained):
    """The same stage with the data that the run has built."""
    return replaced(
        stage, {"data.sources.shapes.dir": f"{trained}/data/shapes", "data.tokenizer": f"{trained}/data/tokenizer"}
    )


def test_a_finished_run_says_so_at_once(run, stage, caplog, monkeypatch):
    caplog.set_level("INFO")
    for work in ("prepare", "train"):
        monkeypatch.setattr(stages, work, lambda *arguments, **options: pytest.fail("there is nothing to do"))
    stages.run(stage, run)
    assert [record.getMessage() for record in caplog.records] == [
        "train: finished at step 2",
        f"finished; nothing is left to do in {run}",
    ]


def test_a_second_process_in_the_same_folder_is_refused(run, stage):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, run], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, cwd=commands.ROOT
    )
    holder.stdout.readline()
    with pytest.raises(UserError, match=f'another process is writing to {run} .*"process": {holder.pid}'):
        stages.run(stage, run)
    holder.kill()
    holder.communicate()
    stages.run(stage, run)  # the kernel has given the folder free


HOLD = """
import sys
from irg_jax.core.locks import locked
with locked(sys.argv[1], "--workdir"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_more_steps_and_on_request_another_learning_rate(run, stage, caplog):
    caplog.set_level("INFO")
    changed = replaced(stage, {"steps": 3, "optim.lr": 0.5 * stage.optim.lr})
    with pytest.raises(UserError, match="optim.lr is .* give --allow_changes to go on with it"):
        stages.run(changed, run)
    stages.run(changed, run, allow_changes=True)
    assert "train: resuming from step 2" in caplog.messages
    assert json.loads((run / "run.json").read_text())["changes"][0]["values"].keys() == {"steps", "optim.lr"}


@pytest.mark.slow  # tests/data/test_faults.py has each kind of change
def test_other_data_under_a_run_are_refused(elsewhere, tmp_path, caplog):
    data, run = tmp_path / "set", tmp_path / "run"
    stage = replaced(elsewhere, {"data.sources.shapes.world": None, "data.sources.shapes.dir": str(data), "steps": 1})
    dataset.build(data, seed=1, train=30, held_out=6)
    stages.run(stage, run)
    shutil.rmtree(data)
    dataset.build(data, seed=9, train=30, held_out=6)
    longer = replaced(stage, {"steps": 2})
    changed = r"the data have changed since step 1: improving_full_learning: 30 samples, \w+ then, 30 samples, \w+ now"
    with pytest.raises(UserError, match=f"{changed}, and 5 more; .*--allow_changes"):
        stages.run(longer, run)
    stages.run(longer, run, allow_changes=True)
    assert re.search(changed, caplog.text)


@pytest.mark.slow  # trains twice more; tests/checkpoints/test_weights.py has bases and merges
def test_a_lora_finds_its_base_from_anywhere_at_the_step_that_it_had(run, elsewhere, tmp_path, monkeypatch):
    base = shutil.copytree(run, tmp_path / "base")
    lora = LoRAConfig(rank=2, alpha=4.0, weights="blocks")
    monkeypatch.chdir(tmp_path)
    stages.run(replaced(elsewhere, {"init_from": "base", "lora": lora}), tmp_path / "lora")
    before = open_stage(tmp_path / "lora")
    assert (before.base.folder, before.base.step) == (str(base), 2)
    weights = digest(model_weights(before))

    stages.run(replaced(elsewhere, {"steps": 3}), base)  # the base is trained on
    monkeypatch.chdir("/")
    assert digest(model_weights(open_stage(tmp_path / "lora"))) == weights

    base.rename(tmp_path / "moved")
    with pytest.raises(UserError, match=f"step 2 of {base}, are not there any more"):
        model_weights(open_stage(tmp_path / "lora"))


def test_other_weights_in_the_place_of_the_base_are_refused():
    weights = {"a": jnp.arange(12.0).reshape(3, 4), "b": jnp.ones(3, jnp.bfloat16)}
    recorded = Origin("/base", 2, digest(weights))
    assert recorded.digest == digest(jax.tree.map(lambda x: x.astype(jnp.bfloat16), weights))
    check_origin(Origin("/moved", 2, digest(weights)), recorded)
    for other in ({**weights, "a": weights["a"][::-1]}, {**weights, "b": weights["b"] * 1.01}):
        with pytest.raises(UserError, match="/moved: its weights of step 2 are not those"):
            check_origin(Origin("/moved", 2, digest(other)), recorded)

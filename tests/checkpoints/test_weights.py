"""The latest stage of a run is opened; checkpoints of an earlier version are refused in one line, everywhere."""

import jax
import pytest
from ml_collections import ConfigDict

from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.checkpoints.weights import open_stage
from irg_jax.core.config.files import to_json
from irg_jax.core.errors import ConfigError, UserError
from irg_jax.models.config import ModelConfig
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.sharding.rules import ShardingRules
from irg_jax.training import trainer
from irg_jax.training.optimizer import learning_rate, make_optimizer
from irg_jax.training.state import make_state_spec
from tests import tiny
from tests.checkpoints.test_manager import make_iterator, make_state, old_checkpoint

REFUSED = (
    r"checkpoints: the checkpoint of step 7 was written by another version of irg_jax \(format 1, this version reads 2"
)


def save(stage, **config):
    with Checkpointer(stage / "checkpoints") as checkpoints:
        checkpoints.save_weights(make_state()["ema"], {"config": to_json(ConfigDict(config))})


def test_the_last_stage_with_a_checkpoint_is_opened(tmp_path):
    save(tmp_path / "stage1", seed=1)
    save(tmp_path / "stage2", seed=2)
    (tmp_path / "stage3" / "checkpoints").mkdir(parents=True)
    stage = open_stage(tmp_path)
    assert (stage.folder, stage.step, stage.config.seed) == (tmp_path / "stage2", 0, 2)
    assert open_stage(tmp_path / "stage1").config.seed == 1


def test_a_missing_section_is_named(tmp_path):
    save(tmp_path, seed=1)
    stage = open_stage(tmp_path)
    assert stage.lora is None
    with pytest.raises(ConfigError, match="model.decoder: missing key"):
        stage.section("model", ModelConfig)


def test_a_run_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="no checkpoint here; give a run of irg_jax.train"):
        open_stage(tmp_path)


# --- checkpoints of an earlier version


def test_open_stage_refuses_an_earlier_version(tmp_path):
    old_checkpoint(tmp_path / "stage1" / "checkpoints", make_state(), meta={"config": "{}"})
    with pytest.raises(UserError, match=REFUSED) as error:
        open_stage(tmp_path)
    assert "\n" not in str(error.value)


def test_resuming_training_refuses_an_earlier_version(tmp_path):
    """Not as a checkpoint of another config, although its state may differ."""
    optim = tiny.optim()
    optimizer = make_optimizer(optim, learning_rate(optim, 10))
    mesh = make_mesh(MeshConfig())
    spec = make_state_spec(tiny.CONFIG, tiny.EXECUTION, optimizer, mesh, ShardingRules())
    weights = tiny.weights()
    state = {"params": weights, "ema": weights, "opt": jax.tree.map(lambda x: x + 1, make_state()["opt"])}
    old_checkpoint(tmp_path / "checkpoints", state, meta={"config": "{}"})
    with Checkpointer(tmp_path / "checkpoints") as checkpoints, pytest.raises(UserError, match=REFUSED) as error:
        trainer._restore(checkpoints, checkpoints.latest_step(), spec, make_iterator())
    assert "\n" not in str(error.value)

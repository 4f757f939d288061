"""The latest stage of a run is opened; checkpoints of an earlier version are refused in one line, everywhere."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from irg_jax.checkpoints.lora_export import write_merged
from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.checkpoints.weights import model_weights, open_stage, read_ema
from irg_jax.core.config.files import to_json
from irg_jax.core.errors import ConfigError, UserError
from irg_jax.core.tree import weight_name
from irg_jax.data import tokenizer
from irg_jax.models.config import ModelConfig
from irg_jax.models.lora import LoRAConfig, abstract_factors
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.sharding.rules import ShardingRules
from irg_jax.training import trainer
from irg_jax.training.optimizer import learning_rate, make_optimizer
from irg_jax.training.state import make_state_spec
from tests import tiny
from tests.checkpoints.test_manager import make_state, old_checkpoint

REFUSED = (
    r"checkpoints: the checkpoint of step 7 was written by another version of irg_jax \(format 1, this version reads 3"
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


# --- LoRA

LORA = LoRAConfig(rank=2, alpha=4.0, weights=r"blocks\.(und|gen)\.(q|v|up)\.kernel|llm2vae")
LARGEST_UPDATE = 2.5e-5  # of a few steps at a learning rate of 1e-5


@pytest.fixture(scope="module")
def lora_run(tmp_path_factory):
    """A run with LoRA on a bfloat16 base, its weights and factors by name; updates of layer 0 are zero."""
    root = tmp_path_factory.mktemp("lora")
    rng = np.random.default_rng(0)
    base = jax.tree.map(lambda x: x.astype("bfloat16"), tiny.weights())

    def factor(path, x):
        b = 1e-5 if weight_name(path).endswith("lora_b") else 1.0
        values = b * rng.uniform(-1, 1, size=x.shape)
        return jnp.asarray(values * (np.arange(len(values)) > 0).reshape(-1, *[1] * (x.ndim - 1)), "float32")

    factors = jax.tree_util.tree_map_with_path(factor, abstract_factors(tiny.CONFIG, LORA))
    config = {
        "model": dataclasses.asdict(tiny.CONFIG),
        "execution": dataclasses.asdict(tiny.execution(dtype="bfloat16")),
    }
    for name, weights in (("base", base), ("run", factors)):
        with Checkpointer(root / name / "checkpoints") as checkpoints:
            changes = {"lora": dataclasses.asdict(LORA), "init_from": str(root / "base")} if name == "run" else {}
            checkpoints.save_weights(weights, {"config": to_json(ConfigDict(config | changes))})
        tokenizer.copy(tiny.BAGEL_TINY / "bagel", root / name / "tokenizer")
    return root / "run", by_name(base), by_name(factors)


def by_name(weights):
    return {weight_name(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(weights)}


def merged_by_hand(base, factors):
    """In float64."""
    result = {name: x.astype("float64") for name, x in base.items()}
    for name in factors:
        if name.endswith("lora_a"):
            a, b = (factors[name[:-1] + x].astype("float64") for x in "ab")
            result[name.replace("lora_a", "kernel")] += 2.0 * a @ b
    return result


def test_small_lora_updates_survive_merging_in_float32(lora_run):
    run, base, factors = lora_run
    merged, wanted = by_name(model_weights(open_stage(run), dtype="float32")), merged_by_hand(base, factors)
    largest = max(np.abs(wanted[name] - x.astype("float64")).max() for name, x in base.items())
    assert 0.3 * LARGEST_UPDATE < largest < 3 * LARGEST_UPDATE
    for name, x in merged.items():
        assert x.dtype == "float32"
        np.testing.assert_allclose(x, wanted[name], rtol=1e-7, atol=1e-12, err_msg=name)


def test_merged_weights_are_rounded_once_to_the_compute_dtype(lora_run):
    run, base, factors = lora_run
    stage = open_stage(run)
    exact, rounded = by_name(model_weights(stage, dtype="float32")), by_name(model_weights(stage))
    for name, x in rounded.items():
        np.testing.assert_array_equal(x, exact[name].astype("bfloat16"), err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_without_an_update_keep_every_bit_of_the_base(lora_run, dtype):
    run, base, factors = lora_run
    merged = by_name(model_weights(open_stage(run), dtype=dtype))
    updated = {name.replace("lora_a", "kernel") for name in factors}
    for name, x in base.items():
        same = np.s_[:] if name not in updated else np.s_[:1]  # updates of the first layer are zero
        if name not in updated or name.startswith("blocks"):
            np.testing.assert_array_equal(merged[name][same], x[same].astype(dtype), err_msg=name)


def test_a_merged_export_is_written_in_the_dtype_asked_for(lora_run, tmp_path):
    stage = open_stage(lora_run[0])
    exact = model_weights(stage, dtype="float32")
    for dtype, changes in (("float32", {}), ("bfloat16", {"dtype": "bfloat16"})):
        write_merged(stage, tmp_path / dtype, **changes)
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, "float32", sharding=x.sharding), exact)
        found = read_ema(tmp_path / dtype, target, alone=True)
        for (name, x), wanted in zip(by_name(found).items(), by_name(exact).values(), strict=True):
            np.testing.assert_array_equal(x, wanted.astype(dtype).astype("float32"), err_msg=name)
        assert open_stage(tmp_path / dtype).lora is None


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
        trainer._restore(checkpoints, checkpoints.latest_step(), spec)
    assert "\n" not in str(error.value)

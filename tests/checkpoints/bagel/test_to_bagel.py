"""A round trip is bit-identical, file by file; a trained checkpoint is exported in the requested dtype."""

import dataclasses
import json
import shutil

import jax
import ml_dtypes
import numpy as np
import pytest
from ml_collections import ConfigDict

from irg_jax.checkpoints.bagel import config as bagel_config
from irg_jax.checkpoints.bagel import names, to_bagel, to_orbax
from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.core.config.files import to_json
from irg_jax.core.errors import UserError
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.sharding.rules import ShardingRules, state_shardings
from tests import released, tiny
from tests.checkpoints.bagel import folders


def round_trip(source, tmp_path, **options):
    to_orbax.convert(source, tmp_path / "orbax", overwrite=False)
    export(tmp_path / "orbax", tmp_path / "back", **options)
    return tmp_path / "back"


def export(source, target, weights="ema", dtype=None, overwrite=False):
    to_bagel.convert(source, target, weights=weights, dtype=dtype, overwrite=overwrite)


# --- round trip


@pytest.mark.parametrize("kind", ["as published", "bfloat16", "sharded", "model.safetensors"])
def test_a_round_trip_is_bit_identical_file_by_file(tmp_path, kind):
    if kind == "bfloat16":
        source = folders.in_bfloat16(tmp_path / "b")
    elif kind == "sharded":
        source = folders.sharded(tmp_path / "b")
    else:
        source = folders.changed(tmp_path / "b")
        (source / "examples").mkdir()
        (source / "examples" / "notes.txt").write_text("other files are copied too")
        if kind == "model.safetensors":
            (source / "ema.safetensors").rename(source / "model.safetensors")
    assert folders.content(round_trip(source, tmp_path)) == folders.content(source)


def test_paths_may_have_any_characters(tmp_path):
    folder = tmp_path / "a b#c%41?ü"
    folder.mkdir()
    assert folders.content(round_trip(folders.TINY, folder)) == folders.content(folders.TINY)


def test_a_position_table_with_other_last_bits_is_exported_unchanged(tmp_path):
    weights = folders.tensors()
    weights[names.VIT_POSITION] = np.nextafter(weights[names.VIT_POSITION], np.float32(2))
    source = folders.with_tensors(tmp_path / "b", weights)
    assert folders.content(round_trip(source, tmp_path)) == folders.content(source)


def test_another_dtype_changes_only_the_weights(tmp_path):
    target = round_trip(folders.TINY, tmp_path, dtype="bfloat16")
    weights = folders.saved(target)
    assert weights.keys() == folders.tensors().keys()
    for key, value in folders.tensors().items():
        np.testing.assert_array_equal(weights[key], value.astype(ml_dtypes.bfloat16), strict=True)
    beside, published = folders.content(target), folders.content(folders.TINY)
    assert {name for name in published if beside[name] != published[name]} == {"ema.safetensors"}


def test_shards_in_another_dtype_have_the_same_keys(tmp_path):
    target = round_trip(folders.sharded(tmp_path / "b"), tmp_path, dtype="bfloat16")
    index = json.loads((target / "model.safetensors.index.json").read_text())
    size = 0
    for key, name in index["weight_map"].items():
        value = folders.saved(target / name)[key]
        np.testing.assert_array_equal(value, folders.tensors()[key].astype(ml_dtypes.bfloat16), strict=True)
        size += value.nbytes
    assert index["metadata"]["total_size"] == size


# --- from training


def save(stage, config, params, ema):
    """A checkpoint as training leaves one."""
    meta = {"config": to_json(config)}
    with Checkpointer(stage / "checkpoints") as checkpoints:
        checkpoints.save(3, params=params, ema=ema, opt={"count": np.zeros(2)}, data={}, meta=meta)


CONFIG = ConfigDict(bagel_config.run_config(bagel_config.read(folders.TINY), "tokenizer", "float32"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose only stage started from the tiny checkpoint, with weights sharded over eight devices."""
    stage = tmp_path_factory.mktemp("run") / "stage1"
    to_orbax.convert(folders.TINY, stage, overwrite=False)
    shutil.rmtree(stage / "checkpoints")
    weights = released.weights()
    shardings = state_shardings(weights, make_mesh(MeshConfig(data=1, fsdp=4, tensor=2)), ShardingRules())
    save(stage, CONFIG, jax.device_put(jax.tree.map(lambda x: x + 0.25, weights), shardings), weights)
    return stage.parent


@pytest.mark.parametrize("weights, added", [("ema", 0.0), ("params", 0.25)])
@pytest.mark.parametrize("block_bytes", [2**25, 1000], ids=["whole rows", "parts of rows"])
def test_a_trained_checkpoint_is_exported_in_its_own_dtype(run, tmp_path, monkeypatch, weights, added, block_bytes):
    monkeypatch.setattr("irg_jax.checkpoints.bagel.tensor_file.BLOCK_BYTES", block_bytes)
    export(run, tmp_path / "back", weights=weights)
    found = folders.saved(tmp_path / "back")
    tables = names.fixed_tables(released.config())
    for key, value in folders.tensors().items():
        np.testing.assert_array_equal(found[key], value if key in tables else value + np.float32(added), strict=True)
    assert bagel_config.read(tmp_path / "back") == bagel_config.read(folders.TINY)


def test_a_trained_checkpoint_is_exported_in_bfloat16_and_converts_again(run, tmp_path):
    export(run / "stage1", tmp_path / "back", dtype="bfloat16")
    again = round_trip(tmp_path / "back", tmp_path / "again")
    assert folders.content(again) == folders.content(tmp_path / "back")


def test_the_target_may_be_inside_the_run(run):
    target = run / "exported"
    export(run, target)
    assert (target / "ema.safetensors").exists()
    shutil.rmtree(target)


def test_missing_published_files_are_written_for_the_config(run, tmp_path, caplog):
    alone = tmp_path / "run"
    shutil.copytree(run / "stage1", alone)
    shutil.rmtree(alone / "bagel")
    with caplog.at_level("INFO"):
        export(alone, tmp_path / "back")
    assert "copy ae.safetensors into the new folder" in caplog.text
    assert bagel_config.read(tmp_path / "back") == bagel_config.read(folders.TINY)
    assert list(folders.saved(tmp_path / "back" / "ema.safetensors")) == sorted(folders.tensors())
    tokenizer = folders.content(alone / "tokenizer")
    assert folders.content(tmp_path / "back").items() >= tokenizer.items()


# --- refused checkpoints


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(UserError, match="no checkpoint here; give a run of irg_jax.train .*, or a converted folder"):
        export(tmp_path, tmp_path / "back")


def test_a_converted_folder_has_no_params(tmp_path):
    to_orbax.convert(folders.TINY, tmp_path / "o", overwrite=False)
    with pytest.raises(UserError, match="step 0 has no params; give --weights ema"):
        export(tmp_path / "o", tmp_path / "back", weights="params")


def test_weights_that_are_not_finite_are_named_and_nothing_is_left(run, tmp_path):
    weights = released.weights()
    weights.blocks.gen.down.kernel[...] = weights.blocks.gen.down.kernel[...].at[2, 0, 0].set(np.nan)
    shutil.copytree(run / "stage1" / "bagel", tmp_path / "run" / "bagel")
    save(tmp_path / "run", CONFIG, weights, weights)
    with pytest.raises(UserError, match=r"layers.2.mlp_moe_gen.down_proj.weight contains NaN or infinity"):
        export(tmp_path / "run", tmp_path / "back")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_damaged_checkpoint_is_refused(run, tmp_path):
    shutil.copytree(run / "stage1", tmp_path / "run")
    for path in (tmp_path / "run" / "checkpoints" / "00000003" / "ema").rglob("d/*"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="cannot be read, its files may be damaged"):
        export(tmp_path / "run", tmp_path / "back")


def test_a_model_with_another_vae_is_refused(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(folders.TINY, run / "tokenizer")
    model = dataclasses.asdict(tiny.CONFIG)
    save(run, ConfigDict({"model": model}), tiny.weights(), tiny.weights())
    with pytest.raises(UserError, match="model.vae: BAGEL has a FLUX VAE"):
        export(run, tmp_path / "back")


def test_a_folder_that_describes_another_model_is_refused(run, tmp_path):
    shutil.copytree(run / "stage1", tmp_path / "run")
    path = tmp_path / "run" / "bagel" / "llm_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_attention_heads": 8}))
    with pytest.raises(UserError, match="bagel: describes another model than the checkpoint beside it"):
        export(tmp_path / "run", tmp_path / "back")

"""A published folder converts to one that trains and samples; a wrong one is refused with every wrong key."""

import json
import re

import jax
import ml_dtypes
import numpy as np
import pytest

from irg_jax.checkpoints.bagel import names, orbax_item, to_orbax
from irg_jax.checkpoints.bagel.contents import KEPT_TABLES
from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.core.config.files import from_json
from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import UserError
from irg_jax.core.tree import weight_name
from irg_jax.models.config import ExecutionConfig, ModelConfig
from irg_jax.models.transformer import abstract_model
from irg_jax.sharding.mesh import MeshConfig, make_mesh
from irg_jax.sharding.rules import ShardingRules, state_shardings, with_shardings
from tests import released
from tests.checkpoints.bagel import folders

GATE = "language_model.model.layers.1.mlp.gate_proj.weight"


def restored(folder, mesh=None):
    """The EMA weights of a converted folder, restored directly into their shards."""
    _, abstract = abstract_model(released.config())
    mesh = make_mesh(mesh or MeshConfig(data=-1, fsdp=1))
    shardings = state_shardings(abstract, mesh, ShardingRules())
    with Checkpointer(folder / "checkpoints", read_only=True) as checkpoints:
        return checkpoints.restore(abstract={"ema": with_shardings(abstract, shardings)})["ema"]


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    target = tmp_path_factory.mktemp("converted") / "tiny"
    to_orbax.convert(folders.TINY, target, overwrite=False)
    return target


# --- the converted folder


@pytest.mark.parametrize("mesh", [None, MeshConfig(data=1, fsdp=4, tensor=2)], ids=["replicated", "sharded"])
def test_the_weights_are_the_published_ones_on_any_mesh(converted, mesh):
    assert jax.tree.all(jax.tree.map(np.array_equal, restored(converted, mesh), released.weights()))


def test_the_folder_has_a_config_at_step_0_and_the_assets_of_the_source(converted):
    with Checkpointer(converted / "checkpoints", read_only=True) as checkpoints:
        meta = checkpoints.restore_meta(0)
    config = from_json(meta["config"])
    assert dataclass_from_mapping(ModelConfig, config.model, "model") == released.config()
    execution = dataclass_from_mapping(ExecutionConfig, config.execution, "execution")
    assert execution.dtype == "float32", "computed in the dtype of the source"
    assert config.data.tokenizer == str(converted / "tokenizer")
    published = folders.content(folders.TINY)
    beside = folders.content(converted / "bagel")
    assert published.items() - beside.items() == {("ema.safetensors", published["ema.safetensors"])}
    assert published.items() >= folders.content(converted / "tokenizer").items()


def test_a_read_only_source_converts_to_a_writable_folder(tmp_path):
    source = folders.changed(tmp_path / "b")
    for path in (*source.iterdir(), source):
        path.chmod(path.stat().st_mode & ~0o222)
    to_orbax.convert(source, tmp_path / "o", overwrite=False)
    assert all(path.stat().st_mode & 0o200 for path in (tmp_path / "o").rglob("*"))


def test_bfloat16_is_saved_as_bfloat16_and_restored_as_float32(tmp_path):
    source = folders.in_bfloat16(tmp_path / "b")
    to_orbax.convert(source, tmp_path / "o", overwrite=False)
    arrays = orbax_item.open_arrays(tmp_path / "o" / "checkpoints" / "00000000" / "ema")
    assert {array.dtype.numpy_dtype for array in arrays.values()} == {np.dtype(ml_dtypes.bfloat16)}
    rounded = jax.tree.map(lambda x: x.astype(ml_dtypes.bfloat16).astype(np.float32), released.weights())
    assert jax.tree.all(jax.tree.map(np.array_equal, restored(tmp_path / "o"), rounded))


def test_shards_are_read_as_one_checkpoint(tmp_path):
    to_orbax.convert(folders.sharded(tmp_path / "b"), tmp_path / "o", overwrite=False)
    assert jax.tree.all(jax.tree.map(np.array_equal, restored(tmp_path / "o"), released.weights()))


def test_arrays_are_chunked_by_layer_into_small_chunks(monkeypatch, tmp_path):
    monkeypatch.setattr(orbax_item, "CHUNK_BYTES", 4096)
    monkeypatch.setattr(orbax_item, "IN_FLIGHT_BYTES", 8192)
    monkeypatch.setattr("irg_jax.checkpoints.bagel.tensor_file.BLOCK_BYTES", 8192)
    to_orbax.convert(folders.TINY, tmp_path / "o", overwrite=False)
    arrays = orbax_item.open_arrays(tmp_path / "o" / "checkpoints" / "00000000" / "ema")
    chunks = {name: array.chunk_layout.read_chunk.shape for name, array in arrays.items()}
    assert chunks["blocks.und.gate.kernel"] == (1, 32, 24)
    assert chunks["embedding"] == (32, 32)
    assert jax.tree.all(jax.tree.map(np.array_equal, restored(tmp_path / "o"), released.weights()))


def test_a_fixed_table_with_other_last_bits_is_kept_unchanged(tmp_path):
    weights = folders.tensors()
    weights[names.VIT_POSITION] = np.nextafter(weights[names.VIT_POSITION], np.float32(2))
    source = folders.with_tensors(tmp_path / "b", weights)
    to_orbax.convert(source, tmp_path / "o", overwrite=False)
    kept = folders.saved(tmp_path / "o" / "bagel" / KEPT_TABLES)
    assert list(kept) == [names.VIT_POSITION]
    np.testing.assert_array_equal(kept[names.VIT_POSITION], weights[names.VIT_POSITION])


def test_every_weight_of_the_model_is_in_the_checkpoint_under_its_own_name(converted):
    arrays = orbax_item.open_arrays(converted / "checkpoints" / "00000000" / "ema")
    ours = jax.tree_util.tree_leaves_with_path(abstract_model(released.config())[1])
    assert {name: array.shape for name, array in arrays.items()} == {weight_name(path): x.shape for path, x in ours}


# --- refused sources


def refused(tmp_path, source, *problems):
    with pytest.raises(UserError) as error:
        to_orbax.convert(source, tmp_path / "o", overwrite=False)
    for problem in problems:
        assert problem in str(error.value)
    assert "\n" not in str(error.value)
    assert sorted(x.name for x in tmp_path.iterdir()) == ["b"], "nothing is left behind"


def test_missing_extra_and_wrongly_shaped_tensors_are_listed_together(tmp_path):
    weights = folders.tensors()
    del weights["llm2vae.bias"], weights["connector.fc1.weight"]
    weights["language_model.model.layers.3.input_layernorm.weight"] = np.ones(64, np.float32)
    weights[GATE] = weights[GATE].T.copy()
    weights["vae2llm.bias"] = np.ones(64, np.int32)
    refused(
        tmp_path, folders.with_tensors(tmp_path / "b", weights),
        "llm2vae.bias is missing", "connector.fc1.weight is missing",
        "language_model.model.layers.3.input_layernorm.weight is not a weight of this model",
        f"{GATE} has shape 64 x 96, the config says 96 x 64",
        "vae2llm.bias has dtype I32, supported are F32, BF16, F16",
    )  # fmt: skip


def test_layers_of_different_dtypes_are_refused(tmp_path):
    weights = folders.tensors()
    weights[GATE] = weights[GATE].astype(np.float16)
    source = folders.with_tensors(tmp_path / "b", weights)
    refused(tmp_path, source, "layers.*.mlp.gate_proj.weight is F16 and F32, must be the same dtype in all layers")


def test_weights_that_are_not_finite_are_named(tmp_path):
    weights = folders.tensors()
    weights[GATE][5, 6] = np.nan
    weights["llm2vae.bias"][0] = np.inf
    source = folders.with_tensors(tmp_path / "b", weights)
    refused(tmp_path, source, f"{GATE} contains NaN or infinity", "llm2vae.bias contains NaN or infinity")


def test_a_config_that_contradicts_the_weights_is_refused(tmp_path):
    source = folders.changed(tmp_path / "b", config__max_latent_size=16, llm_config__num_hidden_layers=4)
    refused(
        tmp_path, source,
        "latent_pos_embed.pos_embed has shape 64 x 64, the config says 256 x 64",
        "language_model.model.layers.3.mlp.gate_proj.weight is missing",
    )  # fmt: skip


def test_a_problem_of_every_layer_is_one_line(tmp_path):
    source = folders.changed(tmp_path / "b", llm_config__num_hidden_layers=9)
    refused(tmp_path, source, "language_model.model.layers.*.mlp.gate_proj.weight is missing (in 6 layers)")


def test_another_position_table_is_refused(tmp_path):
    weights = folders.tensors()
    weights[names.LATENT_POSITION] = weights[names.LATENT_POSITION][::-1].copy()
    source = folders.with_tensors(tmp_path / "b", weights)
    refused(tmp_path, source, "latent_pos_embed.pos_embed is not the fixed sin-cos table: off by up to")


def test_a_file_that_is_cut_off_is_refused(tmp_path):
    source = folders.changed(tmp_path / "b")
    whole = (source / "ema.safetensors").read_bytes()
    (source / "ema.safetensors").write_bytes(whole[:-1000])
    refused(tmp_path, source, f"cut off: its header describes {len(whole):,} bytes, it has {len(whole) - 1000:,}")


def test_a_vae_of_another_kind_is_refused(tmp_path):
    source = folders.changed(tmp_path / "b", ae_config__num_res_blocks=2)
    refused(tmp_path, source, "ae.safetensors: is not the VAE", "decoder.up.0.block.2.conv1.weight is missing")


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    source = folders.changed(tmp_path / "b", llm_config__eos_token_id=7)
    refused(tmp_path, source, "eos_token_id 7, its tokenizer 502")


def test_the_target_is_looked_at_before_the_source(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/o: cannot be written: Not a directory"):
        to_orbax.convert(tmp_path / "nowhere", tmp_path / "file" / "o", overwrite=False)


# --- shards that do not match their index


@pytest.mark.parametrize(
    "change, problem",
    [
        (lambda keys: keys.update(extra="model-00001-of-00003.safetensors"), "extra is not in model-00001"),
        (lambda keys: keys.pop("llm2vae.bias"), "llm2vae.bias is in model-00001-of-.* and not listed"),
        (lambda keys: keys.update(x="model-4.safetensors"), "lists files that are not there: model-4.safetensors"),
        (lambda keys: keys.update(x="../b/ae.safetensors"), "lists files that are not there: ../b/ae.safetensors"),
        (
            lambda keys: keys.update({"llm2vae.bias": "model-00002-of-00003.safetensors"}),
            "llm2vae.bias is in .*, not in model-00002",
        ),
    ],
)  # fmt: skip
def test_an_index_that_does_not_match_its_shards_is_refused(tmp_path, change, problem):
    source = folders.sharded(tmp_path / "b")
    index = source / "model.safetensors.index.json"
    document = json.loads(index.read_text())
    change(document["weight_map"])
    index.write_text(json.dumps(document))
    with pytest.raises(UserError, match=f"model.safetensors.index.json: .*{problem}"):
        to_orbax.convert(source, tmp_path / "o", overwrite=False)


def test_a_folder_of_pickles_is_not_read(tmp_path):
    source = folders.changed(tmp_path / "b", drop=("ema.safetensors",))
    (source / "pytorch_model.bin").write_bytes(b"")
    refused(
        tmp_path, source,
        "no weights here; expected ema.safetensors or model.safetensors",
        "pickle files are never read (pytorch_model.bin)",
    )  # fmt: skip


def test_a_second_set_of_weights_is_named_and_not_copied(tmp_path, caplog):
    source = folders.changed(tmp_path / "b")
    (source / "model.safetensors").write_bytes(b"the weights without averaging")
    with caplog.at_level("INFO"):
        to_orbax.convert(source, tmp_path / "o", overwrite=False)
    assert re.search("model.safetensors: not copied, the weights are those of ema.safetensors", caplog.text)
    assert not (tmp_path / "o" / "bagel" / "model.safetensors").exists()

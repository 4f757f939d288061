"""Initialization from a language model, an image encoder and a VAE: each weight comes from the right part."""

import shutil

import numpy as np
import pytest

from irg_jax.checkpoints.bagel import orbax_item, qwen2, to_bagel
from irg_jax.checkpoints.bagel.qwen2 import Parts
from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.core.config.files import from_json
from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import UserError
from irg_jax.models.config import ExecutionConfig, ModelConfig
from tests.checkpoints.bagel import folders
from tests.checkpoints.bagel.folders import LLM, TOKENIZER, VIT, llm_weights, vit_weights, write_llm, write_vit


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return Parts(*folders.parts(tmp_path_factory.mktemp("parts")))


@pytest.fixture(scope="module")
def initialized(parts, tmp_path_factory):
    """The initialized model, converted, and as a BAGEL folder that the released code would read."""
    folder = tmp_path_factory.mktemp("initialized")
    qwen2.convert(parts, folder / "o", seed=0, overwrite=False)
    to_bagel.convert(folder / "o", folder / "b", weights="ema", dtype=None, overwrite=False)
    return folder


@pytest.fixture(scope="module")
def weights(initialized):
    return folders.saved(initialized / "b")


def test_the_config_is_that_of_the_parts(initialized):
    with Checkpointer(initialized / "o" / "checkpoints", read_only=True) as checkpoints:
        config = from_json(checkpoints.restore_meta(0)["config"])
    model = dataclass_from_mapping(ModelConfig, config.model, "model")
    assert (model.decoder.layers, model.vit.layers, model.vit.patches_per_side) == (3, 2, 10)
    assert (model.max_latent_size, model.vae.width) == (64, 32)
    assert dataclass_from_mapping(ExecutionConfig, config.execution, "execution").dtype == "bfloat16"


def test_both_experts_are_copies_of_the_language_model(weights):
    given = llm_weights()
    for key, value in given.items():
        np.testing.assert_array_equal(weights[LLM + key], value, strict=True)
    generation = [key for key in weights if "moe_gen" in key]
    assert len(generation) == 3 * 14 + 1
    for key in generation:
        if "q_norm" not in key and "k_norm" not in key:
            original = key.replace("_moe_gen", "").removeprefix(LLM)
            np.testing.assert_array_equal(weights[key], given[original], strict=True)


def test_the_image_encoder_has_the_used_layers_of_siglip(weights):
    for key, value in folders.tensors().items():
        if key.startswith(VIT):
            np.testing.assert_array_equal(weights[key], value, strict=True)
    assert not [key for key in weights if "encoder.layers.2" in key or "head" in key.split(".")]


def test_weights_that_no_part_has_are_newly_initialized(weights):
    for key, value in weights.items():
        if key.endswith(("q_norm.weight", "k_norm.weight", "norm_moe_gen.weight")) and "self_attn" in key:
            assert (value == 1).all(), key
    assert not weights["llm2vae.weight"].any() and not weights["llm2vae.bias"].any()
    for name, fan_in in (("vae2llm", 64), ("connector.fc1", 48), ("time_embedder.mlp.0", 256)):
        kernel = weights[f"{name}.weight"].astype(np.float32)
        assert not weights[f"{name}.bias"].any()
        assert kernel.std() == pytest.approx(fan_in**-0.5, rel=0.1)
        assert abs(kernel.mean()) < 0.2 * fan_in**-0.5
    assert not np.array_equal(weights["connector.fc2.weight"], weights["time_embedder.mlp.2.weight"])


def test_the_seed_decides_the_newly_initialized_weights(parts, weights, tmp_path):
    qwen2.convert(parts, tmp_path / "o", seed=1, overwrite=False)
    other = orbax_item.open_arrays(tmp_path / "o" / "checkpoints" / "00000000" / "ema")
    assert not np.array_equal(other["vae2llm.kernel"].read().result(), weights["vae2llm.weight"].T)
    np.testing.assert_array_equal(other["lm_head.kernel"].read().result(), weights["language_model.lm_head.weight"].T)


def test_the_folder_has_the_files_that_training_and_the_released_code_need(initialized, parts):
    beside = folders.content(initialized / "o" / "bagel")
    assert beside["ae.safetensors"] == parts.vae.read_bytes()
    assert {"config.json", "llm_config.json", "vit_config.json", "ae_config.json", *TOKENIZER} <= set(beside)


def test_a_file_with_its_config_beside_it_is_an_image_encoder_too(parts, weights, tmp_path):
    qwen2.convert(parts._replace(vit=parts.vit / "model.safetensors"), tmp_path / "o", seed=0, overwrite=False)
    found = orbax_item.open_arrays(tmp_path / "o" / "checkpoints" / "00000000" / "ema")["vit.position"]
    np.testing.assert_array_equal(
        found.read().result(), weights["vit_model.vision_model.embeddings.position_embedding.weight"]
    )


def test_tied_embeddings_initialize_the_head(parts, weights, tmp_path):
    tied = llm_weights()
    del tied["lm_head.weight"]
    llm = write_llm(tmp_path / "llm", tied, tie_word_embeddings=True)
    qwen2.convert(Parts(llm, parts.vit, parts.vae), tmp_path / "o", seed=0, overwrite=False)
    arrays = orbax_item.open_arrays(tmp_path / "o" / "checkpoints" / "00000000" / "ema")
    np.testing.assert_array_equal(arrays["lm_head.kernel"].read().result(), tied["model.embed_tokens.weight"].T)


def test_parts_that_are_not_given_are_logged(parts, tmp_path, monkeypatch, caplog):
    small = {"hidden": 48, "layers": 1, "heads": 4, "mlp": 8, "patch": 14, "patches_per_side": 5, "norm_eps": 1e-6}
    monkeypatch.setattr("irg_jax.checkpoints.bagel.config.VIT_SO400M", small)
    with caplog.at_level("INFO"):
        qwen2.convert(Parts(parts.llm, None, None), tmp_path / "o", seed=0, overwrite=False)
    assert "no --vit: the image encoder is initialized at random" in caplog.text
    assert "no --vae: copy FLUX's ae.safetensors to" in caplog.text
    assert not (tmp_path / "o" / "bagel" / "ae.safetensors").exists()


# --- refused parts


def test_a_language_model_of_another_shape_is_refused_with_every_key(parts, tmp_path):
    changed = llm_weights()
    del changed["model.norm.weight"]
    changed["model.layers.0.self_attn.q_proj.lora_A"] = np.ones(3, np.float32)
    llm = write_llm(tmp_path / "llm", changed, intermediate_size=97)
    with pytest.raises(UserError) as error:
        qwen2.convert(parts._replace(llm=llm), tmp_path / "o", seed=0, overwrite=False)
    for problem in (
        "model.norm.weight is missing",
        "model.layers.0.self_attn.q_proj.lora_A is not a weight of this model",
        "model.layers.1.mlp.up_proj.weight has shape 96 x 64, the config says 97 x 64",
    ):
        assert problem in str(error.value)


def test_another_kind_of_language_model_is_refused(parts, tmp_path):
    llm = write_llm(tmp_path / "llm", llm_weights(), model_type="qwen3", rope_scaling={"type": "yarn"})
    with pytest.raises(UserError, match='model_type is "qwen3", supported is "qwen2"; .*rope_scaling'):
        qwen2.convert(parts._replace(llm=llm), tmp_path / "o", seed=0, overwrite=False)


def test_an_image_encoder_with_missing_weights_is_refused(parts, tmp_path):
    changed = vit_weights()
    del changed["vision_model.post_layernorm.weight"]
    vit = write_vit(tmp_path / "vit", changed)
    with pytest.raises(UserError, match="vision_model.post_layernorm.weight is missing"):
        qwen2.convert(parts._replace(vit=vit), tmp_path / "o", seed=0, overwrite=False)


def test_weights_that_are_not_finite_are_named(parts, tmp_path):
    changed = llm_weights()
    changed["model.layers.2.mlp.up_proj.weight"][0, 0] = np.nan
    llm = write_llm(tmp_path / "llm", changed)
    with pytest.raises(UserError, match=": model.layers.2.mlp.up_proj.weight contains NaN or infinity$"):
        qwen2.convert(parts._replace(llm=llm), tmp_path / "o", seed=0, overwrite=False)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "name", ["llm/model.safetensors", "llm/merges.txt", "vit/model.safetensors", "vae/ae.safetensors"]
)
def test_a_link_to_nothing_in_a_part_is_named(tmp_path, name):
    llm, vit, vae = folders.parts(tmp_path)
    (tmp_path / "llm" / "tokenizer.json").unlink()  # so that merges.txt is read
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/nowhere")
    with pytest.raises(UserError, match=f"{name.replace('/', '.*')}.*No such file"):
        qwen2.convert(Parts(llm, vit, vae), tmp_path / "o", seed=0, overwrite=False)
    assert not (tmp_path / "o").exists()


def test_nothing_but_the_tokenizer_goes_along_with_a_language_model(parts, tmp_path):
    shutil.copytree(parts.llm, tmp_path / "llm")
    (tmp_path / "llm" / "optimizer.pt").write_text("x")
    (tmp_path / "llm" / "added_tokens.json").write_text('{"<x>": 505}')
    qwen2.convert(parts._replace(llm=tmp_path / "llm"), tmp_path / "o", seed=0, overwrite=False)
    files = {path.name for path in (tmp_path / "o" / "bagel").iterdir()}
    assert "added_tokens.json" in files
    assert not files & {"optimizer.pt", "model.safetensors"}

"""A start from a language model, an image encoder and an autoencoder: each weight comes from where it should."""

import numpy as np
import pytest

from irg_jax import config as configs
from irg_jax.bagel import orbax_item, qwen2, to_bagel
from irg_jax.bagel.qwen2 import Parts
from irg_jax.errors import UserError
from irg_jax.models.config import ModelConfig
from irg_jax.training.checkpoint import Checkpointer
from tests.bagel import folders
from tests.bagel.folders import LLM, TOKENIZER, VIT, llm_weights, vit_weights, write_llm, write_vit


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return Parts(*folders.parts(tmp_path_factory.mktemp("parts")))


@pytest.fixture(scope="module")
def started(parts, tmp_path_factory):
    """The start as a BAGEL folder: what the released code would read."""
    folder = tmp_path_factory.mktemp("started")
    qwen2.convert(parts, folder / "o", seed=0, overwrite=False)
    to_bagel.convert(folder / "o", folder / "b", weights="ema", dtype=None, overwrite=False)
    return folder


@pytest.fixture(scope="module")
def weights(started):
    return folders.stored(started / "b")


def test_the_model_is_the_one_that_its_parts_make(started):
    with Checkpointer(started / "o" / "checkpoints", read_only=True) as checkpoints:
        config = configs.from_json(checkpoints.restore_meta(0)["config"])
    model = ModelConfig.from_mapping(config.model)
    assert (model.decoder.layers, model.vit.layers, model.vit.patches_per_side) == (3, 2, 10)
    assert (model.max_latent_size, model.autoencoder.width, model.dtype) == (64, 32, "bfloat16")


def test_both_experts_are_the_language_model(weights):
    given = llm_weights()
    for key, value in given.items():
        np.testing.assert_array_equal(weights[LLM + key], value, strict=True)
    marked = [key for key in weights if "moe_gen" in key]
    assert len(marked) == 3 * 14 + 1
    for key in marked:
        if "q_norm" not in key and "k_norm" not in key:
            unmarked = key.replace("_moe_gen", "").removeprefix(LLM)
            np.testing.assert_array_equal(weights[key], given[unmarked], strict=True)


def test_the_image_encoder_is_siglips_used_layers(weights):
    for key, value in folders.tensors().items():
        if key.startswith(VIT):
            np.testing.assert_array_equal(weights[key], value, strict=True)
    assert not [key for key in weights if "encoder.layers.2" in key or "head" in key.split(".")]


def test_what_no_part_has_is_fresh(weights):
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


def test_the_seed_decides_what_is_fresh(parts, weights, tmp_path):
    qwen2.convert(parts, tmp_path / "o", seed=1, overwrite=False)
    other = orbax_item.open_arrays(tmp_path / "o" / "checkpoints" / "00000000" / "ema")
    assert not np.array_equal(other["vae2llm.kernel"].read().result(), weights["vae2llm.weight"].T)
    np.testing.assert_array_equal(other["lm_head.kernel"].read().result(), weights["language_model.lm_head.weight"].T)


def test_the_folder_has_what_training_and_the_released_code_need(started, parts):
    beside = folders.content(started / "o" / "bagel")
    assert beside["ae.safetensors"] == parts.vae.read_bytes()
    assert {"config.json", "llm_config.json", "vit_config.json", "ae_config.json", *TOKENIZER} <= set(beside)


def test_a_file_with_its_config_beside_it_is_an_image_encoder_too(parts, weights, tmp_path):
    qwen2.convert(parts._replace(vit=parts.vit / "model.safetensors"), tmp_path / "o", seed=0, overwrite=False)
    found = orbax_item.open_arrays(tmp_path / "o" / "checkpoints" / "00000000" / "ema")["vit.position"]
    np.testing.assert_array_equal(
        found.read().result(), weights["vit_model.vision_model.embeddings.position_embedding.weight"]
    )


def test_tied_embeddings_give_the_head(parts, weights, tmp_path):
    tied = llm_weights()
    del tied["lm_head.weight"]
    llm = write_llm(tmp_path / "llm", tied, tie_word_embeddings=True)
    qwen2.convert(Parts(llm, parts.vit, parts.vae), tmp_path / "o", seed=0, overwrite=False)
    arrays = orbax_item.open_arrays(tmp_path / "o" / "checkpoints" / "00000000" / "ema")
    np.testing.assert_array_equal(arrays["lm_head.kernel"].read().result(), tied["model.embed_tokens.weight"].T)


def test_parts_that_are_not_given_are_named(parts, tmp_path, monkeypatch, caplog):
    small = {"hidden": 48, "layers": 1, "heads": 4, "mlp": 8, "patch": 14, "patches_per_side": 5, "norm_eps": 1e-6}
    monkeypatch.setattr("irg_jax.bagel.config.VIT_SO400M", small)
    with caplog.at_level("INFO"):
        qwen2.convert(Parts(parts.llm, None, None), tmp_path / "o", seed=0, overwrite=False)
    assert "no --vit: the image encoder is random" in caplog.text
    assert "no --autoencoder: copy FLUX's ae.safetensors to" in caplog.text
    assert not (tmp_path / "o" / "bagel" / "ae.safetensors").exists()


# --- parts that do not fit


def test_a_language_model_of_another_shape_is_refused_with_every_key(parts, tmp_path):
    changed = llm_weights()
    del changed["model.norm.weight"]
    changed["model.layers.0.self_attn.q_proj.lora_A"] = np.ones(3, np.float32)
    llm = write_llm(tmp_path / "llm", changed, intermediate_size=97)
    with pytest.raises(UserError) as error:
        qwen2.convert(parts._replace(llm=llm), tmp_path / "o", seed=0, overwrite=False)
    for problem in (
        "model.norm.weight is missing",
        "model.layers.0.self_attn.q_proj.lora_A is no weight of this model",
        "model.layers.1.mlp.up_proj.weight has shape 96 x 64, the config makes it 97 x 64",
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


def test_numbers_that_are_none_are_named(parts, tmp_path):
    changed = llm_weights()
    changed["model.layers.2.mlp.up_proj.weight"][0, 0] = np.nan
    llm = write_llm(tmp_path / "llm", changed)
    with pytest.raises(UserError, match=": model.layers.2.mlp.up_proj.weight holds NaN or infinity$"):
        qwen2.convert(parts._replace(llm=llm), tmp_path / "o", seed=0, overwrite=False)
    assert not (tmp_path / "o").exists()

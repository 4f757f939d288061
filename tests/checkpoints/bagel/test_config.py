"""Reading and writing the JSON files of a BAGEL folder; the weights of the 7B model counted by hand."""

import dataclasses
import json
import re

import pytest
from ml_collections import ConfigDict

from irg_jax.checkpoints.bagel import config as bagel_config
from irg_jax.checkpoints.bagel import vae, validate
from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import UserError
from irg_jax.core.tree import count_weights
from irg_jax.data import factory, tokenizer
from irg_jax.data.config import ProcessorConfig
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.models.config import ExecutionConfig, ModelConfig
from irg_jax.models.transformer import abstract_model
from irg_jax.sampling.config import SamplingConfig
from tests import released
from tests.checkpoints.bagel import folders

BAGEL_7B = bagel_config.make_model(bagel_config.DECODER_7B, bagel_config.VIT_SO400M, vae.PUBLISHED)


def test_the_tiny_folder_describes_the_model_of_the_released_numbers():
    assert bagel_config.read(folders.TINY) == released.config()


def test_missing_keys_have_the_defaults_of_the_published_loader(tmp_path):
    folder = folders.changed(
        tmp_path / "b", drop=("config.json", "ae_config.json"), vit_config__image_size=980,
        vit_config__layer_norm_eps=None, vit_config__hidden_act=None, llm_config__rms_norm_eps=None,
    )  # fmt: skip
    found = bagel_config.read(folder)
    assert (found.latent_patch, found.max_latent_size, found.vit.patches_per_side) == (2, 64, 70)
    assert (found.vit.layers, found.vit.norm_eps, found.decoder.norm_eps) == (2, 1e-6, 1e-6)
    assert found.vae == vae.PUBLISHED


@pytest.mark.parametrize("model", [released.config(), BAGEL_7B], ids=["tiny", "7B"])
def test_the_files_written_for_a_model_describe_it(tmp_path, model):
    for name, values in bagel_config.config_files(model, Tokenizer(folders.TINY)).items():
        (tmp_path / name).write_text(json.dumps(values))
    assert bagel_config.read(tmp_path) == model


# --- 7B


def test_the_7b_model_has_the_published_number_of_weights_in_each_part():
    """BAGEL-7B-MoT (arXiv 2505.14683): 28 layers of 3584, 28 query and 4 KV heads of 128, MLP 18944; 26 ViT layers."""
    d, kv, mlp, vocab, layers = 3584, 4 * 128, 18944, 152064, 28
    attention = 2 * (d * d) + 2 * (d * kv) + (d + 2 * kv)  # q and o, k and v, their biases
    expert = layers * (attention + 3 * d * mlp + 2 * d + 2 * 128) + d  # the norms: two per layer, q and k, the last one
    w, w_mlp, w_layers = 1152, 4304, 26
    vit = w_layers * (4 * (w * w + w) + (w * w_mlp + w_mlp) + (w_mlp * w + w) + 4 * w)
    vit += 588 * w + w + 70 * 70 * w + 2 * w
    expected = {
        "understanding expert": expert,
        "generation expert": expert,
        "embedding and head": 2 * vocab * d,
        "image encoder": vit,
        "connector": w * d + d + d * d + d,
        "latents and time": (64 * d + d) + (d * 64 + 64) + (256 * d + d) + (d * d + d),
    }
    assert validate.parts(BAGEL_7B) == expected
    # 14B parameters, 7B active per token: the 7.62B of Qwen2.5-7B, and its layers a second time.
    assert round(expert / 1e9, 2) == 6.53
    assert round((expert + expected["embedding and head"]) / 1e9, 2) == 7.62
    assert count_weights(abstract_model(BAGEL_7B)[1]) == sum(expected.values()) == 14_575_018_464


# --- unsupported models


@pytest.mark.parametrize(
    "values, problem",
    [
        ({"config__interpolate_pos": True}, "config.json: interpolate_pos is true, supported is false"),
        ({"config__visual_gen": False}, "config.json: visual_gen is false, supported is true"),
        ({"config__connector_act": "relu"}, 'config.json: connector_act is "relu", supported is "gelu_pytorch_tanh"'),
        ({"config__llm_config__qk_norm": False}, "config.json llm_config: qk_norm is false, supported is true"),
        (
            {"config__llm_config__layer_module": "Qwen2DecoderLayer"},
            'layer_module is "Qwen2DecoderLayer", supported is "Qwen2MoTDecoderLayer"',
        ),
        ({"llm_config__tie_word_embeddings": True}, "tie_word_embeddings is true, supported is false"),
        ({"llm_config__model_type": "llama"}, 'llm_config.json: model_type is "llama", supported is "qwen2"'),
        ({"config__vit_config__rope": True}, "config.json vit_config: rope is true, supported is false"),
        ({"vit_config__hidden_size": None}, "vit_config.json: hidden_size is null, must be a positive integer"),
        ({"config__max_latent_size": "8"}, 'config.json: max_latent_size is "8", must be a positive integer'),
        ({"vit_config__image_size": 980}, "image_size 980 is not vit_max_num_patch_per_side 10 x patch_size 14"),
    ],
)
def test_an_unsupported_architecture_is_refused_by_its_key(tmp_path, values, problem):
    with pytest.raises(UserError, match=re.escape(problem)):
        bagel_config.read(folders.changed(tmp_path / "b", **values))


def test_all_unsupported_values_are_named_together(tmp_path):
    folder = folders.changed(tmp_path / "b", config__interpolate_pos=True, llm_config__vocab_size=0)
    with pytest.raises(UserError, match="interpolate_pos.*; .*vocab_size"):
        bagel_config.read(folder)


@pytest.mark.parametrize("text", [None, "{", "[]"])
def test_a_missing_or_unreadable_file_is_named(tmp_path, text):
    folder = folders.changed(tmp_path / "b", drop=("llm_config.json",))
    if text is not None:
        (folder / "llm_config.json").write_text(text)
    with pytest.raises(UserError, match=r"llm_config.json: (cannot be read|must be a JSON object)"):
        bagel_config.read(folder)


# --- tokenizer


def test_a_tokenizer_with_more_ids_than_the_embedding_is_of_another_model():
    model = dataclasses.replace(released.config(), decoder=dataclasses.replace(released.config().decoder, vocab=500))
    with pytest.raises(UserError, match="505 ids .* has 500 rows: it belongs to another model"):
        bagel_config.check_tokenizer(folders.TINY, model, {})


def test_a_tokenizer_whose_special_tokens_have_other_ids_is_of_another_model(tmp_path):
    tokenizer.train(["some other words"], 300, tmp_path)
    llm = bagel_config.read_json(folders.TINY / "llm_config.json")
    with pytest.raises(UserError, match="bos_token_id 501, its tokenizer 270 .*another model"):
        bagel_config.check_tokenizer(tmp_path, released.config(), llm)


@pytest.mark.parametrize(
    "values, problem",
    [
        (
            {"vision_start_token_id": 502},
            "vision_start_token_id 502, its tokenizer 503: the tokenizer belongs to another",
        ),
        ({"vision_end_token_id": 9}, "vision_end_token_id 9, its tokenizer 504: the tokenizer belongs to another"),
        ({"eos_token_id": [502, 7]}, "eos_token_id 7, its tokenizer 502 (or 500)"),
        ({"image_token_id": 512}, "image_token_id 512, the embedding has 512 rows"),
    ],
)
def test_every_id_in_the_config_is_compared_with_the_tokenizer(values, problem):
    fitting = {"bos_token_id": 501, "eos_token_id": [500, 502], "vision_start_token_id": 503, "image_token_id": 511}
    bagel_config.check_tokenizer(folders.TINY, released.config(), fitting)
    with pytest.raises(UserError, match=re.escape(problem)):
        bagel_config.check_tokenizer(folders.TINY, released.config(), fitting | values)


def test_json_with_a_byte_order_mark_is_read(tmp_path):
    folder = folders.changed(tmp_path / "b")
    for name in ("config.json", "llm_config.json", "ae_config.json"):
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    assert bagel_config.read(folder) == released.config()


def test_special_tokens_that_the_files_lack_are_added(tmp_path):
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((folders.TINY / name).read_bytes())
    found = bagel_config.check_tokenizer(tmp_path, released.config(), {})
    assert found.size == Tokenizer(folders.TINY).size


# --- the config of a converted folder


def test_the_config_of_a_converted_folder_has_every_section_that_sampling_reads():
    model = bagel_config.read(folders.TINY)
    config = ConfigDict(bagel_config.run_config(model, str(folders.TINY), "bfloat16"))
    assert dataclass_from_mapping(ModelConfig, config.model, "model") == model
    assert dataclass_from_mapping(ExecutionConfig, config.execution, "execution").dtype == "bfloat16"
    data = dataclass_from_mapping(ProcessorConfig, config.data, "data")
    processor = factory.make_processor(data, model.geometry)
    assert processor.vae_transform.max_size == 8 * 16
    assert processor.vit_transform.max_size == 10 * 14
    assert dataclass_from_mapping(SamplingConfig, config.sampling, "sampling").image_size == (128, 128)


def test_the_published_image_sizes_are_used_where_the_position_tables_allow_them():
    data = bagel_config.run_config(BAGEL_7B, "", "bfloat16")["data"]
    assert data["vae_image"] == {"max_size": 1024, "min_size": 512}
    assert data["vit_image"] == {"max_size": 980, "min_size": 224}


def test_smaller_position_tables_give_no_size_that_the_vae_would_see_enlarged():
    """Any size that can be sampled is seen in turn 2 as it is, whatever the checkpoint's own transform was."""
    model = bagel_config.read(folders.TINY)
    config = ConfigDict(bagel_config.run_config(model, str(folders.TINY), "float32"))
    data = dataclass_from_mapping(ProcessorConfig, config.data, "data")
    processor = factory.make_processor(data, model.geometry)
    for width in range(16, 129, 16):
        for height in range(16, 129, 16):
            assert processor.vae_transform.size(width, height) == (width, height)
            assert max(processor.vit_transform.grid(width, height)) <= model.vit.patches_per_side

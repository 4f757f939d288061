"""From the JSON files of a BAGEL folder to a config of ours, and back."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from irg_jax.bagel import autoencoder
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.errors import UserError
from irg_jax.models.config import FluxConfig, ModelConfig

# The one value of a key that this model has. What a file leaves out has that value.
_LLM_FIXED = {
    "model_type": "qwen2", "hidden_act": "silu", "use_sliding_window": False, "rope_scaling": None,
}  # fmt: skip
_MOT_FIXED = {"qk_norm": True, "layer_module": "Qwen2MoTDecoderLayer", "tie_word_embeddings": False}
_VIT_FIXED = {
    "model_type": "siglip_vision_model", "hidden_act": "gelu_pytorch_tanh", "num_channels": 3, "rope": False,
}  # fmt: skip
_TOP_FIXED = {
    "model_type": "bagel", "visual_gen": True, "visual_und": True, "connector_act": "gelu_pytorch_tanh",
    "interpolate_pos": False,
}  # fmt: skip

# Our field by published key.
_LLM_COUNTS = {
    "hidden_size": "hidden", "num_hidden_layers": "layers", "num_attention_heads": "heads",
    "num_key_value_heads": "kv_heads", "intermediate_size": "mlp", "vocab_size": "vocab",
}  # fmt: skip
_VIT_COUNTS = {
    "hidden_size": "hidden", "num_attention_heads": "heads", "intermediate_size": "mlp", "patch_size": "patch",
}  # fmt: skip

# What the published loader passes where config.json says nothing.
_TOP_DEFAULTS = {"latent_patch_size": 2, "max_latent_size": 64, "vit_max_num_patch_per_side": 70}
_SELECT_LAYER = -2
_TIME_FEATURES = 256

# The ``decoder`` and ``vit`` sections of BAGEL-7B-MoT (irg.md §4).
DECODER_7B = {
    "hidden": 3584, "layers": 28, "heads": 28, "kv_heads": 4, "head_dim": 128, "mlp": 18944, "vocab": 152064,
    "rope_theta": 1e6, "norm_eps": 1e-6,
}  # fmt: skip
VIT_SO400M = {
    "hidden": 1152, "layers": 26, "heads": 16, "mlp": 4304, "patch": 14, "patches_per_side": 70, "norm_eps": 1e-6,
}  # fmt: skip


def read(folder: Path) -> dict[str, Any]:
    """The ``model`` section that a BAGEL folder describes, with bfloat16 as its compute type.

    Raises:
      UserError: a file is missing or unreadable, or every setting that this model does not have, by file and key.
    """
    top = read_json(folder / "config.json") if (folder / "config.json").exists() else {}
    llm, vit = read_json(folder / "llm_config.json"), read_json(folder / "vit_config.json")
    # The main file repeats some settings of the parts, and alone has others.
    inner_llm, inner_vit = dict(top.get("llm_config") or {}), dict(top.get("vit_config") or {})
    problems = [
        *_unsupported("config.json", top, _TOP_FIXED),
        *_unsupported("llm_config.json", llm, _LLM_FIXED | _MOT_FIXED),
        *_unsupported("config.json llm_config", inner_llm, _LLM_FIXED | _MOT_FIXED),
        *_unsupported("config.json vit_config", inner_vit, _VIT_FIXED),
        *_missing("llm_config.json", llm, _LLM_COUNTS),
        *_vit_problems("vit_config.json", vit),
        *_missing("config.json", _TOP_DEFAULTS | top, _TOP_DEFAULTS),
    ]
    side = (_TOP_DEFAULTS | top)["vit_max_num_patch_per_side"]
    if not problems and vit.get("image_size", side * vit["patch_size"]) // vit["patch_size"] != side:
        problems.append(
            f"vit_config.json: image_size {vit['image_size']} is not vit_max_num_patch_per_side {side} "
            f"x patch_size {vit['patch_size']}"
        )
    if problems:
        raise UserError(f"{folder}: {'; '.join(problems)}")
    return model_section(
        decoder_section(llm),
        vit_section(vit, inner_vit.get("select_layer", _SELECT_LAYER), side),
        autoencoder.config_of(folder),
        latent_patch=(_TOP_DEFAULTS | top)["latent_patch_size"],
        max_latent_size=(_TOP_DEFAULTS | top)["max_latent_size"],
    )


def read_qwen2(folder: Path) -> dict[str, Any]:
    """The ``model.decoder`` section that a Qwen2 model's ``config.json`` describes. Raises UserError as ``read``."""
    values = read_json(folder / "config.json")
    problems = [*_unsupported("config.json", values, _LLM_FIXED), *_missing("config.json", values, _LLM_COUNTS)]
    if problems:
        raise UserError(f"{folder}: {'; '.join(problems)}")
    return decoder_section(values)


def read_siglip(folder: Path, patches_per_side: int) -> dict[str, Any]:
    """The ``model.vit`` section that a SigLIP model's ``config.json`` describes. Raises UserError as ``read``.

    Args:
      folder: of the model.
      patches_per_side: of its position table.
    """
    values = read_json(folder / "config.json")
    values = {"model_type": "siglip_vision_model", **values.get("vision_config", values)}
    problems = _vit_problems("config.json", values)
    if problems:
        raise UserError(f"{folder}: {'; '.join(problems)}")
    return vit_section(values, _SELECT_LAYER, patches_per_side)


def decoder_section(llm: Mapping[str, Any]) -> dict[str, Any]:
    """The ``model.decoder`` section from a Qwen2 config."""
    counts = {ours: llm[key] for key, ours in _LLM_COUNTS.items()}
    rope = llm.get("rope_parameters") or llm
    return {
        **counts,
        "head_dim": llm.get("head_dim") or counts["hidden"] // counts["heads"],
        "rope_theta": float(rope.get("rope_theta", 1e4)),
        "norm_eps": float(llm.get("rms_norm_eps", 1e-6)),
    }


def vit_section(vit: Mapping[str, Any], select_layer: int, patches_per_side: int) -> dict[str, Any]:
    """The ``model.vit`` section from a SigLIP vision config.

    Args:
      vit: the config.
      select_layer: whose output is used, counted from the end: −1 is the last.
      patches_per_side: of its position table.
    """
    counts = {ours: vit[key] for key, ours in _VIT_COUNTS.items()}
    layers, eps = vit["num_hidden_layers"] + 1 + select_layer, float(vit.get("layer_norm_eps", 1e-6))
    return {**counts, "layers": layers, "patches_per_side": patches_per_side, "norm_eps": eps}


def model_section(
    decoder: Mapping[str, Any],
    vit: Mapping[str, Any],
    vae: FluxConfig,
    latent_patch: int = _TOP_DEFAULTS["latent_patch_size"],
    max_latent_size: int = _TOP_DEFAULTS["max_latent_size"],
) -> dict[str, Any]:
    """A whole ``model`` section, with what BAGEL never varies filled in."""
    return {
        "decoder": dict(decoder),
        "vit": dict(vit),
        "autoencoder": {
            "kind": "flux", "width": vae.width, "multipliers": vae.multipliers, "blocks": vae.blocks,
            "channels": vae.channels, "scale": vae.scale, "shift": vae.shift,
        },
        "latent_patch": latent_patch,
        "max_latent_size": max_latent_size,
        "time_features": _TIME_FEATURES,
        "dtype": "bfloat16",
        "remat": "full",
        "attention": "auto",
        "logits_chunk": 2048,
        "encode": "within",
    }  # fmt: skip


def documents(model: ModelConfig, tokenizer: Tokenizer) -> dict[str, dict[str, Any]]:
    """The JSON files that describe a model to the published loader, by name, for where its own are not at hand.

    Raises:
      UserError: the model's autoencoder is none that BAGEL has.
    """
    decoder, vit, vae = model.decoder, model.vit, model.autoencoder
    if not isinstance(vae, FluxConfig):
        raise UserError(
            "model.autoencoder: BAGEL's pictures go through the FLUX autoencoder; this model has another one"
        )
    llm_counts = {key: getattr(decoder, ours) for key, ours in _LLM_COUNTS.items()}
    llm = {
        "architectures": ["Qwen2ForCausalLM"], **_LLM_FIXED, **llm_counts, "head_dim": decoder.head_dim,
        "rms_norm_eps": decoder.norm_eps, "rope_theta": decoder.rope_theta, "max_position_embeddings": 32768,
        "bos_token_id": tokenizer.bos, "eos_token_id": tokenizer.eos, "tie_word_embeddings": False,
    }  # fmt: skip
    vit_counts = {key: getattr(vit, ours) for key, ours in _VIT_COUNTS.items()}
    siglip = {
        **{key: value for key, value in _VIT_FIXED.items() if key != "rope"}, **vit_counts,
        "num_hidden_layers": vit.layers - 1 - _SELECT_LAYER, "image_size": vit.patch * vit.patches_per_side,
        "layer_norm_eps": vit.norm_eps,
    }  # fmt: skip
    top = {
        "architectures": ["BagelForConditionalGeneration"], **_TOP_FIXED, "latent_patch_size": model.latent_patch,
        "max_latent_size": model.max_latent_size, "vit_max_num_patch_per_side": vit.patches_per_side,
        "llm_config": {"model_type": "qwen2", **_MOT_FIXED},
        "vit_config": {"model_type": "siglip_vision_model", "rope": False, "select_layer": _SELECT_LAYER},
    }  # fmt: skip
    files = {"config.json": top, "llm_config.json": llm, "vit_config.json": siglip}
    if vae != autoencoder.PUBLISHED:
        files["ae_config.json"] = {
            "resolution": model.max_latent_size * model.vae_stride, "in_channels": 3, "downsample": vae.downsample,
            "ch": vae.width, "out_ch": 3, "ch_mult": list(vae.multipliers), "num_res_blocks": vae.blocks,
            "z_channels": vae.channels, "scale_factor": vae.scale, "shift_factor": vae.shift,
        }  # fmt: skip
    return files


def run_config(model_section: Mapping[str, Any], tokenizer: str) -> ConfigDict:
    """The config that a converted folder carries in place of a run's: all that sampling reads of one.

    Args:
      model_section: the ``model`` section.
      tokenizer: its folder.
    """
    model = ModelConfig.from_mapping(model_section)
    # Published sizes, and never beyond the position tables.
    vae_side = min(1024, model.max_latent_size * model.vae_stride)
    vit_side = min(980, model.vit.patches_per_side * model.vit.patch)
    guidance = {"text_scale": 4.0, "image_scale": 1.0, "interval": (0.4, 1.0), "renorm": "global", "renorm_min": 0.0}
    return ConfigDict(
        {
            "model": dict(model_section),
            "data": {
                "tokenizer": tokenizer,
                "vae_image": {"max_size": vae_side, "min_size": vae_side // 2},
                "vit_image": {"max_size": vit_side, "min_size": vit_side * 224 // 980},
            },
            "mesh": {"data": 1, "fsdp": -1, "tensor": 1},
            "sampling": {
                "system_prompt": "",
                "image_size": (vae_side, vae_side),
                "prompt_bucket": 64,
                "max_prompt": 512,
                "max_thinking": (1024, 1024),
                "temperature": 0.3,
                "time_points": 50,
                "timestep_shift": 3.0,
                "turn1": guidance,
                "turn2": guidance
                | {"text_scale": 2.0, "image_scale": 2.0, "interval": (0.0, 1.0), "renorm": "text_channel"},
            },
        }
    )


def check_tokenizer(folder: Path, model: ModelConfig, llm: Mapping[str, Any]) -> Tokenizer:
    """The folder's tokenizer, if it can be this model's.

    Args:
      folder: holds the tokenizer's files.
      model: whose embedding has to hold every id; special tokens that the files lack count too, as they are added.
      llm: the decoder's published config, which names the ids of two special tokens.

    Raises:
      UserError: no tokenizer, or one of another model.
    """
    tokenizer = Tokenizer(folder)
    if tokenizer.size > model.decoder.vocab:
        raise UserError(
            f"{folder}: its tokenizer has {tokenizer.size} ids with the special tokens, the embedding has "
            f"{model.decoder.vocab} rows: it belongs to another model; copy the tokenizer files of this one"
        )
    ours = (("bos_token_id", tokenizer.bos), ("eos_token_id", tokenizer.eos))
    for key, expected in ours:
        if llm.get(key) is not None and llm[key] not in (expected, tokenizer.pad):
            raise UserError(
                f"{folder}: its config has {key} {llm[key]}, its tokenizer {expected} (or {tokenizer.pad}): "
                "the tokenizer belongs to another model; copy the tokenizer files of this one"
            )
    return tokenizer


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises UserError where there is none."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: must be a JSON object")
    return values


def _vit_problems(file: str, values: Mapping[str, Any]) -> list[str]:
    keys = [*_VIT_COUNTS, "num_hidden_layers"]
    return [*_unsupported(file, values, _VIT_FIXED), *_missing(file, values, keys)]


def _unsupported(file: str, values: Mapping[str, Any], fixed: Mapping[str, Any]) -> list[str]:
    return [
        f"{file}: {key} is {json.dumps(values[key])}, supported is {json.dumps(value)}"
        for key, value in fixed.items()
        if key in values and values[key] != value
    ]


def _missing(file: str, values: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    return [
        f"{file}: {key} is {json.dumps(values.get(key))}, must be a positive integer"
        for key in keys
        if not (isinstance(values.get(key), int) and values[key] > 0)
    ]

"""Translates the JSON files of a BAGEL folder to our config, and back."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from irg_jax.checkpoints.bagel import vae
from irg_jax.core.config.schema import dataclass_from_mapping
from irg_jax.core.errors import ConfigError, UserError
from irg_jax.core.small_files import is_there, read_text
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.models.config import ExecutionConfig, FluxVAEConfig, ModelConfig

# The only supported value of each key, also where a file leaves the key out.
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

# Defaults of the published loader for keys that config.json leaves out.
_TOP_DEFAULTS = {"latent_patch_size": 2, "max_latent_size": 64, "vit_max_num_patch_per_side": 70}
_SELECT_LAYER = -2
_TIME_FEATURES = 256

# The ``decoder`` and ``vit`` sections of BAGEL-7B-MoT (arXiv 2505.14683).
DECODER_7B = {
    "hidden": 3584, "layers": 28, "heads": 28, "kv_heads": 4, "head_dim": 128, "mlp": 18944, "vocab": 152064,
    "rope_theta": 1e6, "norm_eps": 1e-6,
}  # fmt: skip
VIT_SO400M = {
    "hidden": 1152, "layers": 26, "heads": 16, "mlp": 4304, "patch": 14, "patches_per_side": 70, "norm_eps": 1e-6,
}  # fmt: skip


def read(folder: Path) -> ModelConfig:
    """The architecture that a BAGEL folder describes.

    Raises:
      UserError: a file is missing or unreadable, or the folder describes an unsupported model: every such key, by file.
    """
    top = read_json(folder / "config.json") if is_there(folder / "config.json") else {}
    llm, vit = read_json(folder / "llm_config.json"), read_json(folder / "vit_config.json")
    # config.json repeats some keys of the other files, and has others that they lack.
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
    return make_model(
        decoder_section(llm),
        vit_section(vit, inner_vit.get("select_layer", _SELECT_LAYER), side),
        vae.read_config(folder),
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
      folder: the folder of the model.
      patches_per_side: side of its position table.
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
      select_layer: layer whose output is used, counted from the end: −1 is the last.
      patches_per_side: side of its position table.
    """
    counts = {ours: vit[key] for key, ours in _VIT_COUNTS.items()}
    layers, eps = vit["num_hidden_layers"] + 1 + select_layer, float(vit.get("layer_norm_eps", 1e-6))
    return {**counts, "layers": layers, "patches_per_side": patches_per_side, "norm_eps": eps}


def make_model(
    decoder: Mapping[str, Any],
    vit: Mapping[str, Any],
    vae_config: FluxVAEConfig,
    latent_patch: int = _TOP_DEFAULTS["latent_patch_size"],
    max_latent_size: int = _TOP_DEFAULTS["max_latent_size"],
) -> ModelConfig:
    """Builds the whole architecture, with the values that are the same in every BAGEL model filled in."""
    section = {
        "decoder": decoder, "vit": vit, "vae": dataclasses.asdict(vae_config), "latent_patch": latent_patch,
        "max_latent_size": max_latent_size, "time_features": _TIME_FEATURES,
    }  # fmt: skip
    return dataclass_from_mapping(ModelConfig, section, "model")


def config_files(model: ModelConfig, tokenizer: Tokenizer) -> dict[str, dict[str, Any]]:
    """The JSON files that describe a model to the published loader, by file name.

    Raises:
      ConfigError: the model's VAE is not a FLUX VAE.
    """
    decoder, vit, flux = model.decoder, model.vit, model.vae
    if not isinstance(flux, FluxVAEConfig):
        raise ConfigError("model.vae", "BAGEL has a FLUX VAE, this model has another kind")
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
    if flux != vae.PUBLISHED:
        files["ae_config.json"] = {
            "resolution": model.max_latent_size * model.vae_stride, "in_channels": 3, "downsample": flux.downsample,
            "ch": flux.width, "out_ch": 3, "ch_mult": list(flux.multipliers), "num_res_blocks": flux.blocks,
            "z_channels": flux.channels, "scale_factor": flux.scale, "shift_factor": flux.shift,
        }  # fmt: skip
    return files


def run_config(model: ModelConfig, tokenizer: str, dtype: str) -> dict[str, Any]:
    """The config of a converted folder: every section that sampling reads.

    Args:
      model: the architecture.
      tokenizer: folder of the tokenizer.
      dtype: compute dtype.
    """
    # The published sizes. Smaller position tables limit the long edges, and the ViT's short edge in the same ratio. The
    # VAE's short edge then has no lower bound: one that is made up would have the second turn see image 1 enlarged.
    vae_side = min(1024, model.max_latent_size * model.vae_stride)
    vae_short = 512 if vae_side == 1024 else model.vae_stride
    vit_side = min(980, model.vit.patches_per_side * model.vit.patch)
    guidance = {"text_scale": 4.0, "image_scale": 1.0, "interval": (0.4, 1.0), "renorm": "global", "renorm_min": 0.0}
    reflection = {"text_scale": 2.0, "image_scale": 2.0, "interval": (0.0, 1.0), "renorm": "text_channel"}
    return {
        "model": dataclasses.asdict(model),
        "execution": dataclasses.asdict(ExecutionConfig()) | {"dtype": dtype},
        "data": {
            "tokenizer": tokenizer,
            "vae_image": {"max_size": vae_side, "min_size": vae_short},
            "vit_image": {"max_size": vit_side, "min_size": vit_side * 224 // 980},
        },
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
            "turn2": guidance | reflection,
        },
    }


def check_tokenizer(folder: Path, model: ModelConfig, llm: Mapping[str, Any]) -> Tokenizer:
    """Loads the folder's tokenizer and checks that it fits the model.

    Args:
      folder: the folder with the tokenizer's files.
      model: its embedding must have a row for every id, including special tokens that are added to the tokenizer.
      llm: the decoder's published config, with the ids of some special tokens.

    Raises:
      UserError: no tokenizer, or one of another model.
    """
    tokenizer = Tokenizer(folder)
    if tokenizer.size > model.decoder.vocab:
        raise UserError(
            f"{folder}: its tokenizer has {tokenizer.size} ids with the special tokens, the embedding has "
            f"{model.decoder.vocab} rows: it belongs to another model; copy the tokenizer files of this one"
        )
    expected = {
        "bos_token_id": (tokenizer.bos, tokenizer.pad),
        "eos_token_id": (tokenizer.eos, tokenizer.pad),
        "vision_start_token_id": (tokenizer.vision_start,),
        "vision_end_token_id": (tokenizer.vision_end,),
    }
    given = {key: value if isinstance(value, list) else [value] for key, value in llm.items()}
    for key in (key for key in given if key.endswith("_token_id")):
        beyond = [i for i in given[key] if isinstance(i, int) and i >= model.decoder.vocab]
        if beyond:
            raise UserError(
                f"{folder}: its config has {key} {beyond[0]}, the embedding has {model.decoder.vocab} rows: "
                "copy the config files of this model again"
            )
    for key, ids in expected.items():
        others = [i for i in given.get(key, ()) if i is not None and i not in ids]
        if others:
            names = f"{ids[0]}" + (f" (or {ids[1]})" if len(ids) > 1 else "")
            raise UserError(
                f"{folder}: its config has {key} {others[0]}, its tokenizer {names}: "
                "the tokenizer belongs to another model; copy the tokenizer files of this one"
            )
    return tokenizer


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object. Raises UserError if the file is unreadable or is not a JSON object."""
    try:
        values = json.loads(read_text(path))
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

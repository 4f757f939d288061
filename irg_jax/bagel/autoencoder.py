"""The VAE of a BAGEL folder: ``ae.safetensors``, with the FLUX names of the weights, into our tree."""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open

from irg_jax.errors import UserError
from irg_jax.models.config import FluxConfig
from irg_jax.models.flux import GROUPS, FluxAutoencoder
from irg_jax.training.optimizer import weight_name

# FLUX.1's, and so BAGEL's: a published folder has no config for it.
PUBLISHED = FluxConfig(width=128, multipliers=(1, 2, 4, 4), blocks=2, channels=16, scale=0.3611, shift=0.1159)

# Our name of a weight becomes the published one part by part; a part that is not here has the same name in both.
_PARTS = {
    "middle": "mid", "block1": "block_1", "block2": "block_2", "attention": "attn_1", "out": "proj_out",
    "blocks": "block", "shortcut": "nin_shortcut", "kernel": "weight", "scale": "weight",
}  # fmt: skip
_SIDES = {
    "encoder": {"levels": "down", "resample": "downsample.conv"},
    "decoder": {"levels": "up", "resample": "upsample.conv"},
}

# Of ae_config.json; the others of its keys follow from these or, as the resolution, decide no weight.
_FIELDS = {
    "ch": "width", "ch_mult": "multipliers", "num_res_blocks": "blocks", "z_channels": "channels",
    "scale_factor": "scale", "shift_factor": "shift",
}  # fmt: skip
_IMPLIED = ("resolution", "in_channels", "out_ch", "downsample")


def config_of(folder: Path) -> FluxConfig:
    """The shape of a folder's VAE: from its ``ae_config.json`` where it has one, else ``PUBLISHED``.

    Raises:
      UserError: the file is unreadable, or describes no VAE of this kind: every key at fault, with its value.
    """
    path = folder / "ae_config.json"
    if not path.exists():
        return PUBLISHED
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: must be a JSON object with the keys {', '.join((*_FIELDS, *_IMPLIED))}")
    problems = [f"{key} is missing" for key in (*_FIELDS, *_IMPLIED) if key not in values]
    problems += [f"{key} is unknown" for key in values if key not in (*_FIELDS, *_IMPLIED)]
    problems = problems or _contradictions(values)
    if problems:
        raise UserError(f"{path}: {'; '.join(problems)}")
    fields = {ours: values[key] for key, ours in _FIELDS.items()}
    return FluxConfig(**{**fields, "multipliers": tuple(fields["multipliers"])})


def read(path: Path, config: FluxConfig) -> FluxAutoencoder:
    """The autoencoder with the weights of a published file, as float32.

    Args:
      path: an ``ae.safetensors`` with exactly the weights of ``expected(config)``, of any floating type.
      config: as ``config_of`` gives it for the folder.

    Raises:
      UserError: the file cannot be read, or every weight that is missing, extra, wrongly shaped, of no floating type or
        not finite, by its published name.
    """
    graphdef, abstract = _graph_of(config)
    shapes = expected(config)
    values: dict[str, np.ndarray] = {}
    try:
        with safe_open(path, framework="np") as file:
            keys = set(file.keys())
            problems = [f"{key} is missing" for key in shapes if key not in keys]
            problems += [f"{key} is no weight of it" for key in sorted(keys - set(shapes))]
            for key in (key for key in shapes if key in keys):
                stored = file.get_slice(key)
                shape, dtype = tuple(stored.get_shape()), stored.get_dtype()
                if shape != shapes[key]:
                    problems.append(f"{key} has shape {shape}, must have {shapes[key]}")
                elif dtype not in ("F16", "BF16", "F32", "F64"):
                    problems.append(f"{key} is {dtype}, must be F16, BF16, F32 or F64")
                else:
                    values[key] = file.get_tensor(key).astype(np.float32)
                    if not np.isfinite(values[key]).all():
                        problems.append(f"{key} holds NaN or infinity")
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read as safetensors, is it complete? {error}") from error
    if problems:
        raise UserError(f"{path}: does not hold the autoencoder that its config describes: {'; '.join(problems)}")

    def filled(keys: Any, leaf: Any) -> jax.Array:
        value = values[_published_name(weight_name(keys))]
        # [out, in, rows, columns] to [rows, columns, in, out]; a 1x1 convolution is a matrix here.
        return jnp.asarray((value if value.ndim == 1 else value.transpose(2, 3, 1, 0)).reshape(leaf.shape))

    return nnx.merge(graphdef, jax.tree_util.tree_map_with_path(filled, abstract))


def expected(config: FluxConfig) -> dict[str, tuple[int, ...]]:
    """The published name of every weight with its shape in the file."""
    leaves = jax.tree_util.tree_leaves_with_path(_graph_of(config)[1])
    return {_published_name(weight_name(keys)): _published_shape(leaf.shape) for keys, leaf in leaves}


@functools.cache
def _graph_of(config: FluxConfig) -> tuple[nnx.GraphDef, nnx.State]:
    return nnx.split(nnx.eval_shape(lambda: FluxAutoencoder(config, rngs=nnx.Rngs(params=0))), nnx.Param)


def _published_name(name: str) -> str:
    side, *parts = name.split(".")
    words = _PARTS | _SIDES[side]
    return ".".join([side, *(words.get(part, part) for part in parts)])


def _published_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) == 1:
        return shape
    *window, n_in, n_out = shape
    return (n_out, n_in, *(window or (1, 1)))


def _contradictions(values: dict[str, Any]) -> list[str]:
    multipliers = values["ch_mult"]
    if not (isinstance(multipliers, list) and multipliers and all(map(_is_count, multipliers))):
        return [f"ch_mult is {multipliers}, must be a list of positive integers"]
    counts = ("ch", "num_res_blocks", "z_channels")
    problems = [f"{key} is {values[key]}, must be a positive integer" for key in counts if not _is_count(values[key])]
    numbers = ("scale_factor", "shift_factor")
    problems += [f"{key} is {values[key]}, must be a number" for key in numbers if not _is_number(values[key])]
    implied = {"in_channels": 3, "out_ch": 3, "downsample": 2 ** (len(multipliers) - 1)}
    problems += [f"{key} is {values[key]}, must be {must}" for key, must in implied.items() if values[key] != must]
    if not problems and values["ch"] % GROUPS:
        problems.append(f"ch is {values['ch']}, must be a multiple of {GROUPS}, the groups of its norms")
    return problems


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)

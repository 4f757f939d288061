"""The VAE of a BAGEL folder: ``ae.safetensors``, whose weights have FLUX's names."""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from irg_jax.core.errors import UserError
from irg_jax.core.small_files import is_there, read_text, write_bytes
from irg_jax.core.tree import weight_name
from irg_jax.models.config import FluxVAEConfig
from irg_jax.models.vae.factory import abstract_vae
from irg_jax.models.vae.flux import GROUPS, FluxVAE

# The VAE of FLUX.1, which BAGEL uses; a published folder has no config for it.
PUBLISHED = FluxVAEConfig(width=128, multipliers=(1, 2, 4, 4), blocks=2, channels=16, scale=0.3611, shift=0.1159)

# Our names are translated part by part; parts that are not listed are the same in both.
_PARTS = {
    "middle": "mid", "block1": "block_1", "block2": "block_2", "attention": "attn_1", "out": "proj_out",
    "blocks": "block", "shortcut": "nin_shortcut", "kernel": "weight", "scale": "weight",
}  # fmt: skip
_SIDES = {
    "encoder": {"levels": "down", "resample": "downsample.conv"},
    "decoder": {"levels": "up", "resample": "upsample.conv"},
}

# Keys of ae_config.json; its other keys follow from these or, like the resolution, determine no weight.
_FIELDS = {
    "ch": "width", "ch_mult": "multipliers", "num_res_blocks": "blocks", "z_channels": "channels",
    "scale_factor": "scale", "shift_factor": "shift",
}  # fmt: skip
_IMPLIED = ("resolution", "in_channels", "out_ch", "downsample")


def read_config(folder: Path) -> FluxVAEConfig:
    """The config of a folder's VAE: from its ``ae_config.json`` if it has one, else ``PUBLISHED``.

    Raises:
      UserError: the file is unreadable, or does not describe a FLUX VAE: every wrong key, with its value.
    """
    path = folder / "ae_config.json"
    if not is_there(path):
        return PUBLISHED
    try:
        values = json.loads(read_text(path))
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
    return FluxVAEConfig(**{**fields, "multipliers": tuple(fields["multipliers"])})


def read(path: Path, config: FluxVAEConfig) -> FluxVAE:
    """The VAE with the weights of a published file, in float32.

    Args:
      path: an ``ae.safetensors`` with exactly the weights of ``published_shapes(config)``, of any floating dtype.
      config: as of ``read_config`` for the folder.

    Raises:
      UserError: the file cannot be read, or every weight that is missing, unexpected, not finite, of another shape or
        of an unsupported dtype, by its published name.
    """
    graphdef, abstract = _abstract_vae(config)
    shapes = published_shapes(config)
    values: dict[str, np.ndarray] = {}
    try:
        with safe_open(path, framework="np") as file:
            keys = set(file.keys())
            problems = [f"{key} is missing" for key in shapes if key not in keys]
            problems += [f"{key} is not a weight of this VAE" for key in sorted(keys - set(shapes))]
            for key in (key for key in shapes if key in keys):
                info = file.get_slice(key)
                shape, dtype = tuple(info.get_shape()), info.get_dtype()
                if shape != shapes[key]:
                    problems.append(f"{key} has shape {shape}, the config says {shapes[key]}")
                elif dtype not in ("F16", "BF16", "F32", "F64"):
                    problems.append(f"{key} has dtype {dtype}, supported are F16, BF16, F32, F64")
                else:
                    values[key] = file.get_tensor(key).astype(np.float32)
                    if not np.isfinite(values[key]).all():
                        problems.append(f"{key} contains NaN or infinity")
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be read as safetensors, is it complete? {error}") from error
    if problems:
        raise UserError(f"{path}: is not the VAE that its config describes: {'; '.join(problems)}")

    def to_leaf(path: Any, leaf: Any) -> jax.Array:
        value = values[_published_name(weight_name(path))]
        # [out, in, rows, columns] to [rows, columns, in, out]; a 1x1 convolution is a matrix here.
        return jnp.asarray((value if value.ndim == 1 else value.transpose(2, 3, 1, 0)).reshape(leaf.shape))

    return nnx.merge(graphdef, jax.tree_util.tree_map_with_path(to_leaf, abstract))


def write(path: Path, vae: FluxVAE) -> None:
    """Writes the weights as a file that ``read`` reads, in their dtype.

    Args:
      path: of the file, in a folder that is there; a file that is there is replaced when the new one is complete.
      vae: with its weights on this process's devices.

    Raises:
      OSError: the file cannot be written; an earlier version of it is unchanged.
    """

    def published(leaf: Any) -> np.ndarray:
        value = np.asarray(jax.device_get(leaf))
        if value.ndim == 1:
            return value
        n_in, n_out = value.shape[-2:]
        kernel = value.reshape(*(value.shape[:2] if value.ndim == 4 else (1, 1)), n_in, n_out)
        return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))

    leaves = jax.tree_util.tree_leaves_with_path(nnx.state(vae, nnx.Param))
    write_bytes(path, save({_published_name(weight_name(name)): published(leaf) for name, leaf in leaves}))


def published_shapes(config: FluxVAEConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every weight in the file, by its published name."""
    leaves = jax.tree_util.tree_leaves_with_path(_abstract_vae(config)[1])
    return {_published_name(weight_name(path)): _published_shape(leaf.shape) for path, leaf in leaves}


@functools.cache
def _abstract_vae(config: FluxVAEConfig) -> tuple[nnx.GraphDef, nnx.State]:
    return nnx.split(abstract_vae(config), nnx.Param)


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

"""Writes a BAGEL folder of random weights: ``python -m irg_jax.checkpoints.bagel.synthetic --out DIR --size 7b``.

Its files, names and shapes are those of the published one, to measure a conversion without the real checkpoint.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from irg_jax.checkpoints.bagel import config as bagel_config
from irg_jax.checkpoints.bagel import names, tensor_file, vae
from irg_jax.checkpoints.bagel.contents import VAE_FILE
from irg_jax.checkpoints.bagel.tensor_file import DTYPES
from irg_jax.core.config.command_line import run_command
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import write_json
from irg_jax.data import tokenizer
from irg_jax.models.config import FluxVAEConfig, ModelConfig

SIZES = {
    "7b": bagel_config.make_model(bagel_config.DECODER_7B, bagel_config.VIT_SO400M, vae.PUBLISHED),
    "small": bagel_config.make_model(
        bagel_config.DECODER_7B | {"hidden": 1024, "layers": 4, "heads": 8, "kv_heads": 2, "mlp": 4096, "vocab": 32768},
        bagel_config.VIT_SO400M | {"hidden": 192, "layers": 2, "heads": 4, "mlp": 320, "patches_per_side": 10},
        FluxVAEConfig(width=32, multipliers=(1, 2, 1, 1), blocks=1, channels=16, scale=0.3611, shift=0.1159),
        max_latent_size=16,
    ),
}  # fmt: skip


def write(folder: Path, model: ModelConfig, dtype: str = "BF16", seed: int = 0) -> None:
    """Writes the folder: weights, VAE, config files and a small tokenizer.

    Args:
      folder: a new folder.
      model: an architecture with a FLUX VAE.
      dtype: dtype of the weights, a key of ``tensor_file.DTYPES``.
      seed: seed of the weights.

    Raises:
      UserError: the folder exists.
    """
    if folder.exists():
        raise UserError(f"{folder}: exists; choose another one")
    folder.mkdir(parents=True)
    trained = tokenizer.train(["an image of nothing"], 300, folder)
    for name, values in bagel_config.config_files(model, trained).items():
        write_json(folder / name, values)
    shapes = {key: slot.shape for key, slot in names.slots(model).items()}
    tables = {key: names.fixed_table(*sizes) for key, sizes in names.fixed_tables(model).items()}
    shapes |= {key: table.shape for key, table in tables.items()}
    rng = np.random.default_rng(seed)
    _write(folder / "ema.safetensors", dict(sorted(shapes.items())), dtype, rng, tables)
    assert isinstance(model.vae, FluxVAEConfig)  # config_files has checked it
    _write(folder / VAE_FILE, vae.published_shapes(model.vae), "F32", rng, {})


def _write(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    dtype: str,
    rng: np.random.Generator,
    fixed: Mapping[str, np.ndarray],
) -> None:
    header = tensor_file.make_header({key: (dtype, shape) for key, shape in shapes.items()}, {"format": "pt"})
    file = tensor_file.parse_header(path, header)
    with tensor_file.Writer([file]) as writer:
        for key, tensor in file.tensors.items():
            for first, last in tensor_file.row_blocks(tensor.shape[0], tensor.row_size * DTYPES[dtype].itemsize):
                shape: Any = (last - first, *tensor.shape[1:])
                block = fixed[key][first:last] if key in fixed else _random_bfloat16(rng, shape)
                writer.put(tensor, block.astype(DTYPES[dtype]), first)


def _random_bfloat16(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random signs and significands, magnitudes between 2⁻⁸ and 1; faster than a normal distribution."""
    bits = rng.integers(0, 1 << 16, shape, np.uint16)
    exponent = 119 + (bits >> 7) % 8
    return ((bits & 0x807F) | (exponent << 7)).astype(np.uint16).view(DTYPES["BF16"])


FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
if __name__ == "__main__":
    # Defined here so that importing this module defines no flags.
    _OUT = flags.DEFINE_string("out", None, "a new folder", required=True, flag_values=FLAGS)
    _SIZE = flags.DEFINE_enum(
        "size", "7b", list(SIZES), "7b is BAGEL-7B-MoT, 29 GB; small is 0.4 GB", flag_values=FLAGS
    )
    run_command(lambda: write(Path(_OUT.value), SIZES[_SIZE.value]), flag_values=FLAGS)

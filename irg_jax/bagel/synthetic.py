"""A BAGEL folder of random numbers: ``python -m irg_jax.bagel.synthetic --out DIR --size 7b``.

Its names, shapes and files are those of a real one, so that a conversion can be measured without the checkpoint.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from irg_jax import config as configs
from irg_jax.bagel import autoencoder, names, tensor_file
from irg_jax.bagel import config as bagel_config
from irg_jax.bagel.folder import AUTOENCODER
from irg_jax.bagel.tensor_file import DTYPES
from irg_jax.data import tokenizer
from irg_jax.errors import UserError
from irg_jax.models.config import FluxConfig, ModelConfig

SIZES = {
    "7b": bagel_config.model_section(bagel_config.DECODER_7B, bagel_config.VIT_SO400M, autoencoder.PUBLISHED),
    "small": bagel_config.model_section(
        bagel_config.DECODER_7B | {"hidden": 1024, "layers": 4, "heads": 8, "kv_heads": 2, "mlp": 4096, "vocab": 32768},
        bagel_config.VIT_SO400M | {"hidden": 192, "layers": 2, "heads": 4, "mlp": 320, "patches_per_side": 10},
        FluxConfig(width=32, multipliers=(1, 2, 1, 1), blocks=1, channels=16, scale=0.3611, shift=0.1159),
        max_latent_size=16,
    ),
}  # fmt: skip


def write(folder: Path, model: ModelConfig, dtype: str = "BF16", seed: int = 0) -> None:
    """Makes the folder: weights, autoencoder, configs and a small tokenizer.

    Args:
      folder: where.
      model: any with the FLUX autoencoder.
      dtype: of the weights, a key of ``tensor_file.DTYPES``.
      seed: of the numbers.

    Raises:
      UserError: the folder exists.
    """
    if folder.exists():
        raise UserError(f"{folder}: exists; choose another one")
    folder.mkdir(parents=True)
    words = tokenizer.train(["a picture of nothing"], 300, folder)
    for name, values in bagel_config.documents(model, words).items():
        (folder / name).write_text(json.dumps(values, indent=1), encoding="utf-8")
    shapes = {key: slot.shape for key, slot in names.slots(model).items()}
    tables = {key: names.fixed_table(*sizes) for key, sizes in names.fixed_tables(model).items()}
    shapes |= {key: table.shape for key, table in tables.items()}
    rng = np.random.default_rng(seed)
    _write(folder / "ema.safetensors", dict(sorted(shapes.items())), dtype, rng, tables)
    assert isinstance(model.autoencoder, FluxConfig)  # as the configs written above say
    _write(folder / AUTOENCODER, autoencoder.expected(model.autoencoder), "F32", rng, {})


def _write(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    dtype: str,
    rng: np.random.Generator,
    given: Mapping[str, np.ndarray],
) -> None:
    header = tensor_file.make_header({key: (dtype, shape) for key, shape in shapes.items()}, {"format": "pt"})
    file = tensor_file.parse_table(path, header)
    with tensor_file.Writer([file]) as writer:
        for key, tensor in file.tensors.items():
            for first, last in tensor_file.steps(tensor.shape[0], tensor.row_size * DTYPES[dtype].itemsize):
                shape: Any = (last - first, *tensor.shape[1:])
                block = given[key][first:last] if key in given else _numbers(rng, shape)
                writer.put(tensor, block.astype(DTYPES[dtype]), first)


def _numbers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of either sign between 2⁻⁸ and 1, all bits of a bfloat16's significand in use; fast."""
    bits = rng.integers(0, 1 << 16, shape, np.uint16)
    exponent = 119 + (bits >> 7) % 8
    return ((bits & 0x807F) | (exponent << 7)).astype(np.uint16).view(DTYPES["BF16"])


if __name__ == "__main__":
    # Not flags of every program that imports this module.
    _OUT = flags.DEFINE_string("out", None, "folder to make", required=True)
    _SIZE = flags.DEFINE_enum("size", "7b", list(SIZES), "7b is BAGEL-7B-MoT, 29 GB; small is 0.4 GB")
    configs.run(lambda: write(Path(_OUT.value), ModelConfig.from_mapping(SIZES[_SIZE.value])), takes_config=False)

"""Measures a config with random weights: ``python -m irg_jax.bench WHAT --config configs/midsize.py``.

``train`` runs the training step, ``generate`` samples two turns for one prompt; both print the seconds of each part
once everything is compiled. ``growth`` runs steps over longer rows, more rows and more layers;
``attention`` times the attention backends at several block sizes.
"""

import functools
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from absl import flags

from irg_jax import config as configs
from irg_jax.benchmarks import growth
from irg_jax.benchmarks.attention import attention
from irg_jax.benchmarks.generate import generate
from irg_jax.benchmarks.train import train
from irg_jax.errors import UserError
from irg_jax.models.config import ModelConfig

_REPEATS = flags.DEFINE_integer("repeats", 3, "measured runs, after one that compiles", lower_bound=1)
_JSON = flags.DEFINE_string("json", None, "a file for the figures")
_PLOT = flags.DEFINE_string("plot", None, "a .png or .svg file for the curves of growth")

BENCHMARKS: dict[str, Callable[[Any, ModelConfig, int], dict[str, Any]]] = {
    "attention": attention,
    "generate": generate,
    "growth": growth.growth,
    "train": train,
}


def main(config: Any, what: str) -> None:
    """Measures ``what`` and prints it."""
    configs.log_plainly()
    if what not in BENCHMARKS:
        raise UserError(f"irg_jax.bench: {what!r} is none of {', '.join(BENCHMARKS)}")
    config = configs.resolve(config, Path.cwd())
    model = ModelConfig.from_mapping(config.model).on(jax.default_backend())
    figures = BENCHMARKS[what](config, model, _REPEATS.value)
    device = jax.devices()[0]
    figures |= {"device": device.device_kind, "platform": device.platform, "jax": jax.__version__}
    for name, value in figures.items():
        logging.info("%-28s %s", name, f"{value:.3f}" if isinstance(value, float) else value)
    if _JSON.value:
        Path(_JSON.value).write_text(json.dumps(figures, indent=1), encoding="utf-8")
    if _PLOT.value:
        growth.plot(figures, Path(_PLOT.value))


if __name__ == "__main__":
    # The word behind the command is not a flag.
    configs.run(functools.partial(main, what=sys.argv.pop(1) if len(sys.argv) > 1 else ""))

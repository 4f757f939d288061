"""Measures a config with random weights: ``python -m irg_jax.bench BENCHMARK --config configs/midsize.py``.

``train`` runs the training step, ``generate`` samples two turns for one prompt; both print the seconds of each part
after compiling. ``growth`` runs steps over longer rows, more rows and more layers; ``attention`` times the attention
backends at several block sizes. ``data`` builds rows of the config's own data sets, which have to be there.
"""

import functools
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from absl import flags

from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.core.config.schema import did_you_mean, resolve
from irg_jax.core.errors import UserError
from irg_jax.core.outputs import check_output_file
from irg_jax.core.small_files import write_json
from irg_jax.perf import growth
from irg_jax.perf.attention import attention
from irg_jax.perf.data import data
from irg_jax.perf.generate import generate
from irg_jax.perf.train import train
from irg_jax.training.config import StageConfig, parse_stage

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_REPEATS = flags.DEFINE_integer(
    "repeats", 3, "measured calls, after one that compiles", lower_bound=1, flag_values=FLAGS
)
_JSON = flags.DEFINE_string("json", None, "file for the figures", flag_values=FLAGS)
_PLOT = flags.DEFINE_string("plot", None, ".png or .svg file for the curves of growth", flag_values=FLAGS)

BENCHMARKS: dict[str, Callable[[StageConfig, int], dict[str, Any]]] = {
    "attention": attention,
    "data": data,
    "generate": generate,
    "growth": growth.growth,
    "train": train,
}


def main(config: StageConfig, benchmark: str) -> None:
    """Runs a benchmark and prints its figures."""
    log_plainly()
    if benchmark not in BENCHMARKS:
        nearest = did_you_mean(benchmark, BENCHMARKS)
        raise UserError(f"irg_jax.bench: {benchmark!r} is not one of {', '.join(BENCHMARKS)}{nearest}")
    for flag in (_JSON, _PLOT):
        if flag.value:
            check_output_file(flag.value, f"--{flag.name}")
    if _PLOT.value:
        growth.check_plot(Path(_PLOT.value))
    figures = BENCHMARKS[benchmark](resolve(config, Path.cwd()), _REPEATS.value)
    device = jax.devices()[0]
    figures |= {"device": device.device_kind, "platform": device.platform, "jax": jax.__version__}
    for name, value in figures.items():
        logging.info("%-28s %s", name, f"{value:.3f}" if isinstance(value, float) else value)
    if _JSON.value:
        write_json(_JSON.value, figures)
    if _PLOT.value:
        growth.plot(figures, Path(_PLOT.value))


if __name__ == "__main__":
    # The name of the benchmark is the only argument that is not a flag.
    run_command(
        functools.partial(main, benchmark=sys.argv.pop(1) if len(sys.argv) > 1 else ""), parse_stage, flag_values=FLAGS
    )

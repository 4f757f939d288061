"""``irg_jax.evaluate measure``: VQAScores and DreamSim distances, by the packages of their authors."""

import functools
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from absl import flags

from irg_jax.benchmarks import genai_bench, oneig
from irg_jax.benchmarks.benchmark import Benchmark, FoundImages, PromptSet, log_problems
from irg_jax.benchmarks.genai_bench import local_vqascore
from irg_jax.benchmarks.measurements import SUFFIX, Owed, Value, measure
from irg_jax.benchmarks.oneig import local_dreamsim
from irg_jax.core.config.command_line import log_plainly
from irg_jax.core.errors import UserError
from irg_jax.core.locks import locked
from irg_jax.core.outputs import check_output_file
from irg_jax.core.small_files import make_folder, write_json

_SHOWN = 5  # problems of the images; ``score`` names all of them


class _Metric(NamedTuple):
    """A metric: its benchmark, what it measures there, and the file of ``score`` that it makes."""

    benchmark: Benchmark
    owed: Callable[[PromptSet, FoundImages], list[Owed]]
    table: Callable[[PromptSet, Mapping[str, Value]], dict[str, Value]]
    file: str


_METRICS = {
    "vqascore": _Metric(genai_bench, local_vqascore.owed, local_vqascore.table, "vqascores"),
    "dreamsim": _Metric(oneig, local_dreamsim.owed, local_dreamsim.table, "diversity"),
}

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_METRIC = flags.DEFINE_enum(
    "metric",
    None,
    list(_METRICS),
    "vqascore for GenAI-Bench, or dreamsim for OneIG-Bench's diversity",
    required=True,
    flag_values=FLAGS,
)
_PROMPTS = flags.DEFINE_string("prompts", None, "genai_image.json or OneIG-Bench.csv", required=True, flag_values=FLAGS)
_IMAGES = flags.DEFINE_string("images", None, "official layout, such as RUN/turn2", required=True, flag_values=FLAGS)
_MODEL = flags.DEFINE_string("model", None, "name of the model's folder in it", required=True, flag_values=FLAGS)
_OUT = flags.DEFINE_string(
    "out", None, "FILE.json for score --file; it goes on in FILE.jsonl beside it", required=True, flag_values=FLAGS
)
_DEVICE = flags.DEFINE_string("device", "cuda", "of torch", flag_values=FLAGS)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "prompts at a time", lower_bound=1, flag_values=FLAGS)
_WEIGHTS = flags.DEFINE_string(
    "weights", None, "folder to download weights to; ~/.cache/irg_jax/METRIC if not given", flag_values=FLAGS
)
_PYTHON = flags.DEFINE_string(
    "python", None, "interpreter of an environment with t2v_metrics, for vqascore", flag_values=FLAGS
)


def main() -> None:
    """Measures what is missing, and writes the file once all is there."""
    log_plainly()
    check_output_file(_OUT.value, "--out")
    out = Path(_OUT.value).absolute()
    if out.suffix != ".json":
        raise UserError(f"--out: {_OUT.value} does not end in .json, by which score knows what it is; rename it")
    weights = Path(_WEIGHTS.value or Path.home() / ".cache" / "irg_jax" / _METRIC.value)
    metric = _METRICS[_METRIC.value]
    if _METRIC.value == "vqascore":
        load = functools.partial(local_vqascore.load, _DEVICE.value, weights, python=_PYTHON.value or sys.executable)
    elif _PYTHON.value is not None:
        raise UserError("--python: is for --metric vqascore; leave it out")
    else:
        load = functools.partial(local_dreamsim.load, _DEVICE.value, weights)
    prompts = metric.benchmark.read_prompts(Path(_PROMPTS.value))
    found = metric.benchmark.find_images(prompts, Path(_IMAGES.value), model=_MODEL.value)
    owed = metric.owed(prompts, found)
    log_problems(found.problems[:_SHOWN])
    if len(found.problems) > _SHOWN:
        logging.warning("and %d more problems of the images", len(found.problems) - _SHOWN)
    if not owed:
        raise UserError(f"--images: {_IMAGES.value} has no images of {_MODEL.value} to measure; check --model, too")
    make_folder(weights)
    with locked(out, "--out", beside=True):
        values, count = measure(owed, out.with_suffix(SUFFIX), load, batch_size=_BATCH_SIZE.value)
        write_json(out, metric.table(prompts, values))
    print(f"{out}: {count} prompts measured now, {len(values)} of {len(prompts.items)} in all")
    print(f"score it with --file {metric.file}={out}")

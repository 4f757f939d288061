"""``irg_jax.evaluate generate``: the images of a benchmark, in its official layout for each turn."""

import dataclasses
import json
import logging
from pathlib import Path

from absl import flags

from irg_jax.checkpoints.weights import open_stage
from irg_jax.core.config.command_line import log_plainly
from irg_jax.core.config.schema import dataclass_from_mapping, parse_assignments
from irg_jax.core.errors import UserError
from irg_jax.core.locks import locked
from irg_jax.core.outputs import check_output_folder
from irg_jax.core.storage import is_url
from irg_jax.evaluation.benchmarks import BENCHMARKS
from irg_jax.evaluation.generate import generate, write_layouts
from irg_jax.evaluation.run import BenchmarkRun
from irg_jax.sampling import engine
from irg_jax.sampling.config import PRESETS, SamplingConfig
from irg_jax.sharding import processes
from irg_jax.sharding.mesh import MeshConfig

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_BENCHMARK = flags.DEFINE_enum("benchmark", None, list(BENCHMARKS), "which", required=True, flag_values=FLAGS)
_PROMPTS = flags.DEFINE_string(
    "prompts", None, "the official file or folder of prompts, your own copy", required=True, flag_values=FLAGS
)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "folder of a run, of a checkpoint, or of irg_jax.convert", required=True, flag_values=FLAGS
)
_STEP = flags.DEFINE_integer("step", None, "of the checkpoint; the latest if not given", flag_values=FLAGS)
_OUT = flags.DEFINE_string("out", None, "folder of the run", required=True, flag_values=FLAGS)
_TURNS = flags.DEFINE_integer("turns", 2, "1 or 2; both are kept", lower_bound=1, upper_bound=2, flag_values=FLAGS)
_SEED = flags.DEFINE_integer(
    "seed", 0, "with the name of each image", lower_bound=0, upper_bound=2**32 - 1, flag_values=FLAGS
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 16, "images sampled together, over all devices of a process", lower_bound=1, flag_values=FLAGS
)
_MODEL = flags.DEFINE_string(
    "model", "irg_jax", "the name of the model in official layouts that have one", flag_values=FLAGS
)
_MESH = flags.DEFINE_multi_string("mesh", [], "AXIS=DEVICES, as of irg_jax.generate", flag_values=FLAGS)
_SAMPLING = flags.DEFINE_multi_string(
    "sampling", [], "KEY=VALUE in the config section sampling, such as temperature=0.0", flag_values=FLAGS
)
_PRESET = flags.DEFINE_enum(
    "preset", None, list(PRESETS), "published timesteps and guidance instead of the run's own", flag_values=FLAGS
)


def main() -> None:
    """Samples what is missing, and writes the layouts."""
    log_plainly()
    # All that is given is looked at before a model is loaded.
    if is_url(_OUT.value):
        raise UserError(f"--out: {_OUT.value} is a URL; give a folder, official scorers read files")
    if "/" in _MODEL.value or _MODEL.value in ("", ".", ".."):
        raise UserError(f"--model: {_MODEL.value!r} is not the name of a folder")
    benchmark = BENCHMARKS[_BENCHMARK.value]
    prompts = benchmark.read_prompts(Path(_PROMPTS.value))
    axes = parse_assignments(MeshConfig, _MESH.value, "mesh")
    mesh = dataclass_from_mapping(MeshConfig, axes, "mesh") if axes else None
    changes = parse_assignments(SamplingConfig, _SAMPLING.value, "sampling")
    stage = open_stage(_CHECKPOINT.value, _STEP.value)
    sampling = engine.sampling_config(stage, _PRESET.value or "", changes)
    check_output_folder(_OUT.value, "--out")
    out = Path(_OUT.value).absolute()
    run = BenchmarkRun(
        benchmark=benchmark.NAME,
        version=prompts.version,
        prompts=str(Path(_PROMPTS.value).absolute()),
        prompts_digest=prompts.digest,
        images=prompts.images,
        model=_MODEL.value,
        checkpoint=str(stage.folder),
        step=stage.step,
        weights="",
        turns=_TURNS.value,
        seed=_SEED.value,
        sampling=json.loads(json.dumps(dataclasses.asdict(sampling))),
    )
    logging.info(
        "%s (%s): %d prompts, %d images a turn", benchmark.TITLE, run.version, len(prompts.items), prompts.images
    )
    processes.initialize()

    def work() -> None:
        generate(
            prompts, run, out, _BATCH_SIZE.value,
            lambda: engine.load_sampler(_CHECKPOINT.value, _PRESET.value or "", step=stage.step, mesh=mesh, **changes),
        )  # fmt: skip

    if not processes.is_primary():
        work()
        return
    with locked(out, "--out"):
        work()
        for folder in write_layouts(benchmark, prompts, run, out):
            print(folder)

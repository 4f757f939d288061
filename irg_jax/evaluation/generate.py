"""Samples every image that a benchmark asks for, once."""

import dataclasses
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from irg_jax.benchmarks.benchmark import Benchmark, Item, PromptSet
from irg_jax.checkpoints.weights import digest
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import write_json
from irg_jax.evaluation.run import FILE, IMAGES, BenchmarkRun, Sample, is_done, layout_folder, read_run, samples
from irg_jax.sampling import output
from irg_jax.sampling.sampler import Sampler
from irg_jax.sharding import processes

_LOG_EVERY = 10  # batches


def generate(prompts: PromptSet, run: BenchmarkRun, out: Path, batch_size: int, load: Callable[[], Sampler]) -> None:
    """Samples what is missing. Several processes share the samples; each has a sampler of its own.

    Args:
      prompts: of the benchmark.
      run: without the digest of the weights, which is found when they are loaded.
      out: the folder of the run, seen by all processes.
      batch_size: images sampled together, over all devices of a process.
      load: loads the sampler; not called where nothing is missing.

    Raises:
      UserError: ``out`` has another run, or a prompt is too long for the model.
    """
    owed = samples(prompts)
    share = owed[jax.process_index() :: jax.process_count()]
    if (out / FILE).exists():
        _check_same(read_run(out), run, out)
    elif (out / IMAGES).exists():
        raise UserError(f"--out: {out} has images, but no {FILE} that says whose; put it back or choose another folder")
    missing = [sample for sample in share if not is_done(sample, out, run)]
    logging.info("%d of %d samples are there already", len(share) - len(missing), len(share))
    if missing:
        sampler = load()
        sampler.check([item.prompt for item in prompts.items], run.turns)
        _begin_or_go_on(out, dataclasses.replace(run, weights=digest(sampler.weights.params)))
    processes.wait_for_all("the description of the run")  # it is there before the first image
    if missing:
        _sample(sampler, missing, run, out, min(batch_size, len(missing)))
    processes.wait_for_all("samples of the benchmark")


def _sample(sampler: Sampler, missing: Sequence[Sample], run: BenchmarkRun, out: Path, size: int) -> None:
    # Prompts of about one length share a batch, so that few tokens are padding.
    queue = sorted(missing, key=lambda sample: (len(sample.item.prompt), sample.item.key, sample.number))
    for done in range(0, len(queue), size):
        batch = queue[done : done + size]
        # The last batch is filled up with its last sample, so that one size is compiled.
        rows = [*batch, *[batch[-1]] * (size - len(batch))]
        results = sampler(
            [sample.item.prompt for sample in rows],
            seed=run.seed,
            indices=[sample.random_index(run.benchmark) for sample in rows],
            turns=run.turns,
        )
        for sample, result in zip(batch, results, strict=False):
            output.write(sample.folder(out), result, sampler.origin)
        if done // size % _LOG_EVERY == 0 or done + size >= len(queue):
            logging.info("sampled %d of %d", done + len(batch), len(queue))


def write_layouts(benchmark: Benchmark, prompts: PromptSet, run: BenchmarkRun, out: Path) -> list[Path]:
    """Writes the official layout of each turn beside the samples, which have to be complete; returns the folders."""
    folders = []
    for turn in range(1, run.turns + 1):
        folder = layout_folder(out, turn)

        def image(item: Item, number: int, turn: int = turn) -> bytes:
            return Sample(item, number).image(out, turn).read_bytes()

        benchmark.write_layout(prompts, image, folder, model=run.model)
        folders.append(folder)
    return folders


def _begin_or_go_on(out: Path, run: BenchmarkRun) -> None:
    """The primary process writes ``run.json``; where it is there, all compare with it."""
    if (out / FILE).exists():
        before = read_run(out)
        if before.weights != run.weights:
            raise UserError(
                f"--out: {out} has images of other weights of step {run.step} (checksum {before.weights}, now "
                f"{run.weights}); choose another folder"
            )
    elif processes.is_primary():
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / FILE, dataclasses.asdict(run))


def _check_same(before: BenchmarkRun, run: BenchmarkRun, out: Path) -> None:
    """Raises a UserError where images of ``run`` would be mixed with others. Files may have been moved."""
    for field in dataclasses.fields(BenchmarkRun):
        earlier, now = getattr(before, field.name), getattr(run, field.name)
        if field.name not in ("prompts", "checkpoint", "weights") and earlier != now:
            raise UserError(
                f"--out: {out} has a run with {field.name} {_short(earlier)}, not {_short(now)}; choose another folder"
            )


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 60 else f"{text[:57]}…"

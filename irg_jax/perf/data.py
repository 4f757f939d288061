"""The data path alone, on the data sets of the config: index, plan, rows in this process and with worker processes."""

import cProfile
import os
import pstats
import resource
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from irg_jax.data import factory
from irg_jax.data.packing.layout import Row
from irg_jax.data.pipeline import Batches, PackedRows
from irg_jax.training.config import StageConfig

ROWS = 8  # of a round
_PLANNED = 2000
_NO_BUFFER = 1e-9  # GB: beyond one row per thread, so that rows are not built before they are measured
# The functions whose time is told apart, by file and name; each includes what it calls.
_STAGES = {
    "read": ("rows.py", "_read"),
    "decode": ("images.py", "decode"),
    "resize": ("images.py", "__call__"),
    "tokenise": ("tokenizer.py", "_encode_now"),
    "patchify": ("images.py", "patchify"),
}


def data(config: StageConfig, repeats: int) -> dict[str, Any]:
    """Figures per CPU second of one core, for each stage; then what worker processes change.

    Every round builds ``ROWS`` rows that were not built before. CPU seconds are those of the user and of the system.
    """
    start, cpu = time.monotonic(), time.process_time()
    rows = factory.make_packed_rows(config.data, config.model.geometry)
    figures: dict[str, Any] = {
        "start, s": time.monotonic() - start,
        "start, CPU s": time.process_time() - cpu,
        "resize": config.data.resize,
        "memory after start, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    figures |= _plan(rows)
    rows[0]  # opens files, fills caches
    figures |= _one_process(rows, repeats)
    count = max(config.data.workers, 1)
    return figures | _workers(rows, count, repeats, first=ROWS * (1 + repeats))


def _plan(rows: PackedRows) -> dict[str, Any]:
    start = time.process_time()
    packed = [rows.plan.row(i) for i in range(_PLANNED)]
    spent = time.process_time() - start
    used = np.array([np.sum([sample.cost for sample in samples], axis=0) for samples in packed])
    fill = used.mean(0)[:2] / np.array(rows.budgets.cost[:2])
    return {
        "planning, tokens/CPU s": float(used[:, :2].sum() / spent),
        "fill of und": float(fill[0]),
        "fill of gen": float(fill[1]),
        "fill": float(used[:, :2].sum() / (_PLANNED * sum(rows.budgets.cost[:2]))),
        "samples per row": len([sample for samples in packed for sample in samples]) / _PLANNED,
    }


def _one_process(rows: PackedRows, repeats: int) -> dict[str, Any]:
    """Medians over rounds; the shares of the stages are from one more round, under a profiler, which slows it."""
    speeds: list[Sequence[float]] = []
    for round_number in range(repeats):
        first = ROWS * (1 + round_number)
        samples = sum(len(rows.plan.row(i)) for i in range(first, first + ROWS))
        start = time.process_time()
        built = [rows[i] for i in range(first, first + ROWS)]
        spent = time.process_time() - start
        tokens = sum(len(row.und["ids"]) + len(row.gen["position"]) for row in built)
        speeds.append((tokens / spent, samples / spent, sum(map(_pictures, built)) / spent, _bytes(built)))
    medians = (statistics.median(values) for values in zip(*speeds, strict=True))
    tokens_per_s, records_per_s, pictures_per_s, nbytes = medians
    profile = cProfile.Profile(time.process_time)
    profile.runcall(lambda: [rows[i] for i in range(ROWS)])
    return {
        "tokens/CPU s": tokens_per_s,
        "records/CPU s": records_per_s,
        "pictures/CPU s": pictures_per_s,
        "MB per row": nbytes / 1e6,
        **_shares(profile),
    }


def _pictures(row: Row) -> int:
    """Pictures that were resized for a row: for the VAE, and for the ViT."""
    return len(row.images) + len(row.patches)


def _bytes(rows: Sequence[Row]) -> float:
    return statistics.mean(row.nbytes for row in rows)


def _shares(profile: cProfile.Profile) -> dict[str, float]:
    stats = pstats.Stats(profile)
    total = stats.total_tt  # type: ignore[attr-defined]
    shares = {}
    for stage, (file, function) in _STAGES.items():
        spent = sum(
            values[3]
            for (path, _, name), values in stats.stats.items()  # type: ignore[attr-defined]
            if os.path.basename(path) == file and name == function
        )
        shares[f"share of {stage}"] = spent / total
    return shares | {"share of the rest": 1 - sum(shares.values())}


def _workers(rows: PackedRows, count: int, repeats: int, first: int) -> dict[str, Any]:
    """Batches of one row through worker processes: speed, the time of the main process, and memory."""
    speeds, mains = [], []
    with Batches(
        rows,
        (repeats + 1) * ROWS,
        batch_size=1,
        offsets=(0,),
        first=first,
        workers=count,
        buffer_gb=_NO_BUFFER,
    ) as iterator:
        for _ in range(ROWS):  # the workers import and open files
            next(iterator)
        for _ in range(repeats):
            start, cpu = time.monotonic(), time.process_time()
            tokens = 0
            for _ in range(ROWS):
                batch = next(iterator)
                tokens += int((batch["und"]["position"] >= 0).sum() + (batch["gen"]["position"] >= 0).sum())
            speeds.append(tokens / (time.monotonic() - start))
            mains.append((time.process_time() - cpu) / ROWS)
        memory = iterator.worker_memory()
    return {
        "workers": count,
        "with workers, tokens/s": statistics.median(speeds),
        "main process, CPU s per batch": statistics.median(mains),
        "memory of a worker, MiB": max(memory) / 2**20,
        "memory at the end, MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }

"""The metrics of a run: what is logged of the steps of an interval, and the rows of ``metrics.csv`` read back."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from irg_jax.core.chips import mfu
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import read_text
from irg_jax.core.storage import as_path
from irg_jax.training.config import StageConfig
from irg_jax.training.flops import train_step_flops

METRICS_FILE = "metrics.csv"
PARTS_FOLDER = "metrics"  # beside it: rows that are not in it yet


def read_metrics(path: str | os.PathLike[str]) -> tuple[list[str], list[dict[str, float]]]:
    """Reads a metrics.csv: its columns (``step`` first) and its rows, where an empty cell is a missing key.

    On a bucket a run writes its rows in parts, which lie beside the file until the run ends; they are read too. A run
    may be killed in the middle of a line, so an incomplete last line is left out.

    Raises:
      UserError: another broken line, by file and line, or a file that is not a metrics.csv.
    """
    folder = as_path(path).parent / PARTS_FOLDER
    parts = sorted(file for file in folder.iterdir() if file.suffix == ".csv") if folder.is_dir() else []
    columns, by_step = ["step"], dict[float, dict[str, float]]()
    for file in (path, *parts):
        names, rows = _read_file(file)
        columns += [name for name in names if name not in columns]
        for row in rows:
            by_step[row["step"]] = by_step.get(row["step"], {}) | row
    return columns, [by_step[step] for step in sorted(by_step)]


def _read_file(path: str | os.PathLike[str]) -> tuple[list[str], list[dict[str, float]]]:
    try:
        text = read_text(path)
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not UTF-8 ({error.reason}); remove that line") from None
    # Only complete lines count: a number that was cut short would still parse.
    lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    if not lines:
        return ["step"], []
    columns, rows = lines[0], []
    if columns[0] != "step":
        raise UserError(f"{path}: the first column is {columns[0]!r}, not 'step'; this is not the metrics.csv of a run")
    for number, cells in enumerate(lines[1:], start=2):
        try:
            if len(cells) != len(columns):
                raise ValueError(f"{len(cells)} cells for {len(columns)} columns")
            row = {name: float(cell) for name, cell in zip(columns, cells, strict=True) if cell}
            row["step"] = int(cells[0])
        except ValueError as error:
            if number == len(lines):
                break
            raise UserError(f"{path}, line {number}: {error}; remove that line") from None
        rows.append(row)
    return columns, rows


class IntervalMean:
    """The metrics of the steps since the last log, as they are logged: means over these steps.

    Args:
      config: of the stage.
      modes: names of the learning modes, in the order of the losses by mode.
      devices: of the mesh.
    """

    def __init__(self, config: StageConfig, modes: Sequence[str], devices: int) -> None:
        self._config, self._modes, self._devices = config, list(modes), devices
        self._steps: list[dict[str, float]] = []

    def add(self, values: Mapping[str, Any], stall_seconds: float, seconds: float) -> None:
        """Adds a step.

        Args:
          values: the metrics that the step returned, on the host: scalars, and losses by mode [modes], NaN for a mode
            that was not in the batch.
          stall_seconds: for which the devices waited for data.
          seconds: from the end of the step before to the end of this one.
        """
        step = {name: float(value) for name, value in values.items() if np.ndim(value) == 0}
        losses = [np.asarray(value, np.float64) for name, value in values.items() if name.endswith("_by_mode")]
        for i, mode in enumerate(self._modes):
            # A mode that is not in this batch has no loss, not a loss of zero.
            parts = [loss[i] for loss in losses if np.isfinite(loss[i])]
            if parts:
                step[f"loss/{mode}"] = float(sum(parts))
        step |= {"time/data": stall_seconds, "time/compute": max(seconds - stall_seconds, 0.0), "time/step": seconds}
        self._steps.append(step)

    def pop(self) -> dict[str, float]:
        """The means of the steps since the last call, of which there is at least one.

        Returns:
          scalars by name: those of the steps, losses by mode, fill of the budgets, tokens/s, seconds, MFU if the chip
          is known. The mean of a metric is over the steps that had it, and leaves out values that are not finite
          unless all are.
        """
        steps, self._steps = self._steps, []
        names = dict.fromkeys(name for step in steps for name in step)
        mean = {name: _mean([step[name] for step in steps if name in step]) for name in names}
        data, seconds = self._config.data, mean["time/step"]
        und, gen = mean["tokens/und"], mean["tokens/gen"]
        mean |= {
            "fill/und": und / (data.batch_size * data.budgets.und),
            "fill/gen": gen / (data.batch_size * data.budgets.gen),
            "tokens_per_s": (und + gen) / seconds,
        }
        flops = train_step_flops(self._config.model, und=und, gen=gen, vit=mean["tokens/vit"], pairs=mean["pairs"])
        utilisation = mfu(flops, seconds, jax.devices()[0].device_kind, self._devices)
        return mean if utilisation is None else mean | {"mfu": utilisation}


def _mean(values: list[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else values[-1]

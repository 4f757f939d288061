"""The metrics of a run: metrics.csv, TensorBoard events, the progress line and the MFU."""

import collections
import csv
import io
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import tensorboardX

from irg_jax.core.chips import mfu
from irg_jax.core.errors import UserError
from irg_jax.core.storage import write_text
from irg_jax.training.config import StageConfig
from irg_jax.training.flops import train_step_flops

METRICS_FILE = "metrics.csv"


def read_metrics(path: pathlib.Path) -> tuple[list[str], list[dict[str, float]]]:
    """Reads a metrics.csv: its columns (``step`` first) and its rows, where an empty cell is a missing key.

    A run may be killed in the middle of a line, so an incomplete last line is left out.

    Raises:
      UserError: another broken line, by file and line, or a file that is not a metrics.csv.
    """
    text = path.read_text()
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


def step_metrics(
    values: Mapping[str, Any],
    config: StageConfig,
    modes: Sequence[str],
    data_seconds: float,
    seconds: float,
    devices: int,
) -> dict[str, float]:
    """The metrics of a step as they are logged.

    Args:
      values: the metrics that the step returned, on the host.
      config: of the stage.
      modes: names of the learning modes, in the order of the losses by mode.
      data_seconds: for which the host waited for data.
      seconds: since the metrics of the step before were fetched.
      devices: of the mesh.

    Returns:
      scalars by name: those of the step, losses by mode, fill of the budgets, tokens/s, seconds, MFU if the chip is
        known.
    """
    rows, budgets = config.data.batch_size, config.data.budgets
    scalars = {name: float(value) for name, value in values.items() if np.ndim(value) == 0}
    tokens = {kind: scalars[f"tokens/{kind}"] for kind in ("und", "gen", "vit")}
    for i, mode in enumerate(modes):
        # A mode that is not in this batch has no loss, not a loss of zero.
        parts = [values[name][i] for name in ("ce_by_mode", "mse_by_mode") if np.isfinite(values[name][i])]
        if parts:
            scalars[f"loss/{mode}"] = float(sum(parts))
    scalars |= {
        "fill/und": tokens["und"] / (rows * budgets.und),
        "fill/gen": tokens["gen"] / (rows * budgets.gen),
        "tokens_per_s": (tokens["und"] + tokens["gen"]) / seconds,
        "time/data": data_seconds,
        "time/compute": max(seconds - data_seconds, 0.0),
    }
    flops = train_step_flops(config.model, **tokens, pairs=scalars["pairs"])
    utilisation = mfu(flops, seconds, jax.devices()[0].device_kind, devices)
    return scalars if utilisation is None else scalars | {"mfu": utilisation}


class MetricWriter:
    """Writes one row of numbers per step to ``metrics.csv`` and to TensorBoard event files.

    Reading a number gives the same float back, so two loss curves can be compared bit for bit. Every row is on disk
    when ``write`` returns.
    """

    def __init__(self, directory: str | os.PathLike[str], *, resume_step: int | None) -> None:
        """Opens both files.

        Args:
          directory: for ``metrics.csv`` and ``tensorboard/``; made if it is missing.
          resume_step: the step of the checkpoint that the run resumes from; later rows, of a run that was killed after
            its last checkpoint, are dropped. None starts new files.
        """
        self._path = pathlib.Path(directory) / METRICS_FILE
        self._path.parent.mkdir(parents=True, exist_ok=True)
        last = -1 if resume_step is None else resume_step
        old = read_metrics(self._path) if self._path.exists() and resume_step is not None else (["step"], [])
        self._columns, rows = old
        self._rewrite([row for row in rows if row["step"] <= last])
        self._last_step = last
        self._events = tensorboardX.SummaryWriter(
            str(self._path.parent / "tensorboard"), purge_step=last + 1, flush_secs=10
        )

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the numbers of ``step``, which must be later than the step before; new names become new columns.

        Raises:
          UserError: the file cannot be written.
        """
        if step <= self._last_step:
            raise ValueError(f"{self._path}: step {step} comes after step {self._last_step}; steps must increase")
        if "step" in values:
            raise ValueError(f"{self._path}: 'step' is the first column, not the name of a metric")
        row = {name: float(value) for name, value in values.items()}
        new = [name for name in row if name not in self._columns]
        try:
            if new:
                self._file.close()
                _, rows = read_metrics(self._path)
                self._columns = self._columns + new
                self._rewrite(rows)
            self._file.write(self._line({"step": step, **row}))
            self._file.flush()
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written ({error.strerror}); free the disk") from error
        self._last_step = step
        for name, value in row.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        """Closes both files, after the buffered TensorBoard events are written."""
        self._file.close()
        self._events.close()

    def _line(self, row: Mapping[str, float]) -> str:
        text = io.StringIO()
        cells = [repr(row[name]) if name in row else "" for name in self._columns]
        csv.writer(text, lineterminator="\n").writerow(cells)
        return text.getvalue()

    def _rewrite(self, rows: list[dict[str, float]]) -> None:
        # Completely or not at all, so that a kill at any moment leaves either the old rows or the new ones.
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(self._columns)
        write_text(self._path, header.getvalue() + "".join(map(self._line, rows)))
        self._file = self._path.open("a")


def _duration(seconds: float) -> str:
    total = round(seconds)
    hours, minutes, rest = total // 3600, total // 60 % 60, total % 60
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


class Progress:
    """Formats the progress line of a training run."""

    def __init__(
        self,
        total_steps: int,
        *,
        label: str = "train",
        start_step: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts the clock.

        Args:
          total_steps: of the stage.
          label: first word of the line.
          start_step: the step that the run resumes from.
          clock: monotonic, in seconds.
        """
        self._total, self._label, self._clock = total_steps, label, clock
        # Only the latest lines count: the first step compiles, and its minutes say nothing about the steps to come.
        self._history: collections.deque[tuple[float, int]] = collections.deque([(clock(), start_step)], maxlen=16)

    def line(self, step: int, values: Mapping[str, float]) -> str:
        """The line for ``step``, of whichever of loss, ce, mse, tokens_per_s, time/data and time/compute are given."""
        parts = [self._label, f"{step}/{self._total}"]
        if "loss" in values:
            split = [f"{name} {values[name]:.3g}" for name in ("ce", "mse") if name in values]
            parts.append(f"loss {values['loss']:.4g}" + (f" ({' '.join(split)})" if split else ""))
        if "tokens_per_s" in values:
            parts.append(f"{values['tokens_per_s']:,.0f} tok/s")
        if "time/data" in values and "time/compute" in values:
            total = values["time/data"] + values["time/compute"]
            parts.append(f"data {100 * values['time/data'] / total if total else 0:.0f} %")
        self._history.append((self._clock(), step))
        (then, first), (now, _) = self._history[0], self._history[-1]
        if step > first:
            parts.append(f"ETA {_duration((now - then) / (step - first) * max(0, self._total - step))}")
        return "  ".join(parts)

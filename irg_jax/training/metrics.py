"""What a run writes down about itself: metrics.csv, TensorBoard events, the progress line and the MFU."""

import collections
import csv
import io
import os
import pathlib
import time
from collections.abc import Callable, Mapping

import tensorboardX

from irg_jax.errors import UserError

METRICS_FILE = "metrics.csv"

# bf16 dense peak FLOP/s of what JAX calls one device; keys are lower-case beginnings of `jax.Device.device_kind`.
# TPU: "Peak compute per chip (BF16)" in the system architecture pages of docs.cloud.google.com/tpu/docs (v4 275,
# v5e 197, v5p 459, v6e 918, TPU7x 2307 TFLOPs). A TPU7x chip shows up as two JAX devices, each with half of it.
# NVIDIA: the Tensor Core BF16 rows of the A100, H100, H200 and HGX B200 datasheets; those print 1,979 (H100 SXM, H200)
# and 4,500 (B200) TFLOPS with sparsity, of which the dense rate is half.
_PEAK_FLOPS = (
    ("tpu v4 lite", None),
    ("tpu v4", 275e12),
    ("tpu v5 lite", 197e12),
    ("tpu v5e", 197e12),
    ("tpu v5", 459e12),
    ("tpu v6 lite", 918e12),
    ("tpu v6e", 918e12),
    ("tpu7x", 2307e12 / 2),
    ("tpu v7x", 2307e12 / 2),
    ("nvidia a100", 312e12),
    ("nvidia h100 pcie", None),
    ("nvidia h100 nvl", None),
    ("nvidia h100", 1979e12 / 2),
    ("nvidia h200 nvl", None),
    ("nvidia h200", 1979e12 / 2),
    ("nvidia b200", 4500e12 / 2),
)


def peak_flops(device_kind: str) -> float | None:
    """The bf16 dense peak FLOP/s of one JAX device of this kind; None where no figure is known."""
    kind = device_kind.lower()
    return next((peak for beginning, peak in _PEAK_FLOPS if kind.startswith(beginning)), None)


def mfu(model_flops_per_step: float, step_seconds: float, device_kind: str, num_devices: int) -> float | None:
    """Model FLOPs utilisation, 0 to 1: the FLOPs the model needs against what the devices could do in that time."""
    peak = peak_flops(device_kind)
    if peak is None or step_seconds <= 0:
        return None
    return model_flops_per_step / (step_seconds * peak * num_devices)


def read_metrics(path: pathlib.Path) -> tuple[list[str], list[dict[str, float]]]:
    """Reads a metrics.csv: its columns (`step` first) and its rows, where a missing cell is a missing key.

    A run may be killed in the middle of a line, so a last line that is not whole is left out. Any other broken line is
    a `UserError` that names the file and the line.
    """
    text = path.read_text()
    # Only whole lines count: a number that was cut short would still parse.
    lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    if not lines:
        return ["step"], []
    columns, rows = lines[0], []
    if columns[0] != "step":
        raise UserError(f"{path}: the first column is {columns[0]!r}, not 'step'; this is not a metrics file of a run")
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


class MetricWriter:
    """Writes one row of numbers a step to `metrics.csv` and to TensorBoard event files.

    Numbers are written so that reading them gives the same floats back: two loss curves can be compared bit for bit.
    Every row is on disk when `write` returns.
    """

    def __init__(self, directory: str | os.PathLike[str], *, resume_step: int | None) -> None:
        """Opens `directory`, which is made where missing.

        Args:
          directory: where `metrics.csv` and `tensorboard/` go.
          resume_step: the last step of the checkpoint the run goes on from; later rows, of a run that was killed after
            its last checkpoint, are dropped. None starts the files anew.
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
        """Writes the numbers of `step`, which must be later than the step before; new names become new columns.

        Raises:
          UserError: the disk refuses.
        """
        if step <= self._last_step:
            raise ValueError(f"{self._path}: step {step} comes after step {self._last_step}; steps must grow")
        if "step" in values:
            raise ValueError(f"{self._path}: 'step' is the row's own column and no metric name")
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
        """Closes both files; the events that TensorBoard was still to get are written first."""
        self._file.close()
        self._events.close()

    def _line(self, row: Mapping[str, float]) -> str:
        text = io.StringIO()
        cells = [repr(row[name]) if name in row else "" for name in self._columns]
        csv.writer(text, lineterminator="\n").writerow(cells)
        return text.getvalue()

    def _rewrite(self, rows: list[dict[str, float]]) -> None:
        # Through a second file, so that a kill at any moment leaves either the old rows or the new ones.
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(self._columns)
        draft = self._path.with_suffix(".csv.tmp")
        draft.write_text(header.getvalue() + "".join(map(self._line, rows)))
        os.replace(draft, self._path)
        self._file = self._path.open("a")


def _duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


class Progress:
    """Makes the one line that a person watches while a run trains."""

    def __init__(
        self,
        total_steps: int,
        *,
        label: str = "train",
        start_step: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`start_step` is the step the run goes on from; `clock` gives seconds that only grow."""
        self._total, self._label, self._clock = total_steps, label, clock
        # The newest lines only: the first step compiles, and its minutes say nothing about the steps to come.
        self._seen: collections.deque[tuple[float, int]] = collections.deque([(clock(), start_step)], maxlen=16)

    def line(self, step: int, values: Mapping[str, float]) -> str:
        """The line for `step`, from those of loss, ce, mse, tokens_per_s, time/data and time/compute that are there."""
        parts = [self._label, f"{step}/{self._total}"]
        if "loss" in values:
            split = [f"{name} {values[name]:.3g}" for name in ("ce", "mse") if name in values]
            parts.append(f"loss {values['loss']:.4g}" + (f" ({' '.join(split)})" if split else ""))
        if "tokens_per_s" in values:
            parts.append(f"{values['tokens_per_s']:,.0f} tok/s")
        if "time/data" in values and "time/compute" in values:
            both = values["time/data"] + values["time/compute"]
            parts.append(f"data {100 * values['time/data'] / both if both else 0:.0f} %")
        self._seen.append((self._clock(), step))
        (then, old), (now, _) = self._seen[0], self._seen[-1]
        if step > old:
            parts.append(f"ETA {_duration((now - then) / (step - old) * max(0, self._total - step))}")
        return "  ".join(parts)

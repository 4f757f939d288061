"""The metrics of a run: exact, resumable, readable."""

import errno
import math

import pytest

from irg_jax.core.errors import UserError
from irg_jax.training import metrics


def _write(directory, steps, resume_step=None, **extra):
    writer = metrics.MetricWriter(directory, resume_step=resume_step)
    for step in steps:
        writer.write(step, {"loss": 1 / (step + 2), **extra})
    writer.close()
    return directory / "metrics.csv"


def test_numbers_are_read_back_bit_for_bit(tmp_path):
    writer = metrics.MetricWriter(tmp_path, resume_step=None)
    values = {"loss": 0.1 + 0.2, "ce": math.pi * 1e-30, "mse": float("inf")}
    writer.write(1, values)
    writer.write(2, {"loss": float("nan")})
    writer.close()
    columns, rows = metrics.read_metrics(tmp_path / "metrics.csv")
    assert columns == ["step", "loss", "ce", "mse"]
    assert rows[0] == {"step": 1, **values}
    assert set(rows[1]) == {"step", "loss"} and math.isnan(rows[1]["loss"])
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_a_new_column_keeps_old_rows(tmp_path):
    writer = metrics.MetricWriter(tmp_path, resume_step=None)
    writer.write(1, {"loss": 1.0})
    writer.write(2, {"loss": 0.5, "loss/a,b": 0.25})
    writer.write(3, {"loss": 0.25})
    writer.close()
    assert (tmp_path / "metrics.csv").read_text() == 'step,loss,"loss/a,b"\n1,1.0,\n2,0.5,0.25\n3,0.25,\n'
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.csv", "tensorboard"}, "no temporary file is left"


def test_rows_are_on_disk_before_close(tmp_path):
    writer = metrics.MetricWriter(tmp_path, resume_step=None)
    writer.write(1, {"loss": 1.0})
    assert metrics.read_metrics(tmp_path / "metrics.csv")[1] == [{"step": 1, "loss": 1.0}]
    writer.close()


def test_the_file_of_a_resumed_run_equals_that_of_an_uninterrupted_one(tmp_path):
    whole = _write(tmp_path / "whole", range(1, 11))
    _write(tmp_path / "cut", range(1, 9))
    cut = _write(tmp_path / "cut", range(6, 11), resume_step=5)
    assert cut.read_text() == whole.read_text()


def test_resuming_drops_an_incomplete_line(tmp_path):
    path = _write(tmp_path, range(1, 4))
    with path.open("a") as file:
        file.write("4,0.1666")
    _write(tmp_path, [5], resume_step=4)
    assert [row["step"] for row in metrics.read_metrics(path)[1]] == [1, 2, 3, 5]


def test_a_new_run_starts_a_new_file(tmp_path):
    _write(tmp_path, range(1, 4))
    path = _write(tmp_path, [1])
    assert [row["step"] for row in metrics.read_metrics(path)[1]] == [1]


def test_an_error_names_the_broken_line(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n1,0.5\n2,x\n3,0.5\n")
    with pytest.raises(UserError, match=r"metrics\.csv, line 3"):
        metrics.read_metrics(path)
    path.write_text("loss,step\n")
    with pytest.raises(UserError, match="first column"):
        metrics.read_metrics(path)


def test_steps_must_increase(tmp_path):
    writer = metrics.MetricWriter(tmp_path, resume_step=3)
    with pytest.raises(ValueError, match="steps must increase"):
        writer.write(3, {"loss": 1.0})
    with pytest.raises(ValueError, match="not the name of a metric"):
        writer.write(4, {"step": 1.0})
    writer.close()


def test_the_progress_line_has_loss_speed_and_eta():
    now = iter([0.0, 2.0, 4.0]).__next__
    progress = metrics.Progress(2000, label="stage1", start_step=1100, clock=now)
    values = {
        "loss": 1.2341,
        "ce": 0.512,
        "mse": 0.722,
        "tokens_per_s": 8412.3,
        "time/data": 0.03,
        "time/compute": 0.97,
    }
    assert progress.line(1150, values).endswith("ETA 34s")
    line = "stage1  1200/2000  loss 1.234 (ce 0.512 mse 0.722)  8,412 tok/s  data 3 %  ETA 32s"
    assert progress.line(1200, values) == line


def test_the_eta_leaves_out_the_slow_first_step():
    seconds = iter([0.0] + [600.0 + step for step in range(1, 41)])
    progress = metrics.Progress(140, clock=seconds.__next__)
    lines = [progress.line(step, {}) for step in range(1, 41)]
    assert lines[0].endswith("ETA 23h12m")
    assert lines[-1] == "train  40/140  ETA 1m40s"


def test_a_full_disk_is_a_user_error(tmp_path, monkeypatch):
    writer = metrics.MetricWriter(tmp_path, resume_step=None)
    writer.write(1, {"loss": 1.0})

    class Full:
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer, "_file", Full())
    with pytest.raises(UserError, match=r"metrics.csv: cannot be written \(No space left on device\); free the disk"):
        writer.write(2, {"loss": 1.0})

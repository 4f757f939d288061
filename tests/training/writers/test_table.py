"""metrics.csv: exact, resumable, complete after a kill or a lost machine."""

import errno
import math
import os

import pytest

from irg_jax.core import storage
from irg_jax.core.errors import StorageError, UserError
from irg_jax.core.storage import as_path
from irg_jax.training.metrics import read_metrics
from irg_jax.training.writers import table
from irg_jax.training.writers.table import TableWriter
from tests import bucket


def open_table(directory, resume_step=None, **options):
    return TableWriter(as_path(directory), resume_step=resume_step, **options)


def write(directory, steps, resume_step=None):
    writer = open_table(directory, resume_step)
    for step in steps:
        writer.write(step, {"loss": 1 / (step + 2)})
    writer.close()
    return directory / "metrics.csv"


def steps_in(directory):
    return [row["step"] for row in read_metrics(as_path(directory) / "metrics.csv")[1]]


def test_numbers_are_read_back_bit_for_bit(tmp_path):
    writer = open_table(tmp_path)
    values = {"loss": 0.1 + 0.2, "ce": math.pi * 1e-30, "mse": float("inf")}
    writer.write(1, values)
    writer.write(2, {"loss": float("nan")})
    columns, rows = read_metrics(tmp_path / "metrics.csv")
    assert columns == ["step", "loss", "ce", "mse"]
    assert rows[0] == {"step": 1, **values}
    assert set(rows[1]) == {"step", "loss"} and math.isnan(rows[1]["loss"])


def test_a_new_column_keeps_old_rows(tmp_path):
    writer = open_table(tmp_path)
    writer.write(1, {"loss": 1.0})
    writer.write(2, {"loss": 0.5, "loss/a,b": 0.25})
    writer.write(3, {"loss": 0.25})
    assert (tmp_path / "metrics.csv").read_text() == 'step,loss,"loss/a,b"\n1,1.0,\n2,0.5,0.25\n3,0.25,\n'
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"], "no temporary file is left"


def test_the_same_step_again_adds_to_its_row(tmp_path):
    writer = open_table(tmp_path)
    writer.write(1, {"loss": 1.0})
    writer.write(1, {"validation/loss": 2.0})
    writer.write(2, {"loss": 0.5})
    writer.write(2, {"validation/loss": 1.5})
    assert (tmp_path / "metrics.csv").read_text() == "step,loss,validation/loss\n1,1.0,2.0\n2,0.5,1.5\n"


def test_steps_do_not_decrease(tmp_path):
    writer = open_table(tmp_path, resume_step=3)
    with pytest.raises(ValueError, match="steps must not decrease"):
        writer.write(2, {"loss": 1.0})
    with pytest.raises(ValueError, match="not the name of a metric"):
        writer.write(4, {"step": 1.0})


def test_the_file_of_a_resumed_run_equals_that_of_an_uninterrupted_one(tmp_path):
    whole = write(tmp_path / "whole", range(1, 11))
    write(tmp_path / "cut", range(1, 9))
    cut = write(tmp_path / "cut", range(6, 11), resume_step=5)
    assert cut.read_text() == whole.read_text()


def test_resuming_drops_an_incomplete_line(tmp_path):
    with write(tmp_path, range(1, 4)).open("a") as file:
        file.write("4,0.1666")
    write(tmp_path, [5], resume_step=4)
    assert steps_in(tmp_path) == [1, 2, 3, 5]


def test_a_new_run_starts_a_new_file(tmp_path):
    write(tmp_path, range(1, 4))
    write(tmp_path, [1])
    assert steps_in(tmp_path) == [1]


# --- storage that answers with errors


@pytest.fixture
def failures(monkeypatch):
    """The error numbers of the next appends; each leaves half a line."""
    numbers, append = [], table._append_text

    def failing(path, text):
        if numbers:
            append(path, text[: len(text) // 2])
            number = numbers.pop(0)
            raise OSError(number, os.strerror(number))
        append(path, text)

    monkeypatch.setattr(table, "_append_text", failing)
    monkeypatch.setattr(storage, "sleep", lambda seconds: None)
    return numbers


def test_a_row_is_written_once_however_often_it_is_tried(tmp_path, failures):
    writer = open_table(tmp_path)
    for step in (1, 2, 3):
        failures[:] = [errno.EIO] * (step == 2)
        writer.write(step, {"loss": float(step)})
    assert (tmp_path / "metrics.csv").read_text() == "step,loss\n1,1.0\n2,2.0\n3,3.0\n"


def test_a_full_disk_is_a_user_error_and_a_dead_one_a_storage_error(tmp_path, failures, monkeypatch):
    writer = open_table(tmp_path)
    writer.write(1, {"loss": 1.0})
    failures[:] = [errno.ENOSPC]
    with pytest.raises(UserError, match=r"metrics.csv: cannot be written \(No space left on device\); free the disk"):
        writer.write(2, {"loss": 1.0})

    def dead(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(table, "_append_text", dead)
    monkeypatch.setattr(table, "write_text", dead)
    with pytest.raises(StorageError, match="metrics.csv: cannot be written"):
        writer.write(3, {"loss": 1.0})


# --- buckets


def test_a_lost_machine_takes_only_the_rows_of_the_last_seconds_with_it(tmp_path, monkeypatch):
    url, now = bucket.install(monkeypatch, tmp_path), [0.0]
    lost = open_table(f"{url}/run", part_seconds=30, clock=lambda: now[0])
    for step in range(1, 8):
        now[0] += 10
        lost.write(step, {"loss": 0.1 * step})
    assert steps_in(f"{url}/run") == [1, 2, 3, 4, 5, 6]

    resumed = open_table(f"{url}/run", resume_step=5, clock=lambda: now[0])
    assert steps_in(f"{url}/run") == [1, 2, 3, 4, 5]
    resumed.write(6, {"loss": 0.6, "ce": 1.0})
    resumed.write(6, {"validation/loss": 2.0})
    resumed.close()
    assert [path.name for path in (tmp_path / "bucket" / "run").iterdir()] == ["metrics.csv"], "the parts are merged"
    assert read_metrics(f"{url}/run/metrics.csv")[1][-1] == {"step": 6, "loss": 0.6, "ce": 1.0, "validation/loss": 2.0}


def test_parts_that_end_in_the_middle_of_a_step_are_merged(tmp_path, monkeypatch):
    writer = open_table(f"{bucket.install(monkeypatch, tmp_path)}/run", part_seconds=0)
    writer.write(1, {"loss": 1.0})
    writer.write(1, {"validation/loss": 2.0})
    writer.close()
    assert (tmp_path / "bucket/run/metrics.csv").read_text() == "step,loss,validation/loss\n1,1.0,2.0\n"

"""Storage that answers with errors: a save is tried again, a lost checkpoint is said, and the next one is written."""

import errno
import os

import orbax.checkpoint as ocp
import pytest

from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.core import storage
from irg_jax.core.errors import StorageError, UserError
from tests.checkpoints.test_manager import abstract, assert_same, make_state, save


@pytest.fixture(autouse=True)
def waited(monkeypatch):
    seconds = []
    monkeypatch.setattr(storage, "sleep", seconds.append)
    return seconds


def fail(monkeypatch, owner, name, times, error=None):
    """Lets the next calls of a function fail; every call is counted in the list that it gives."""
    work, calls = getattr(owner, name), []

    def failing(*args, **kwargs):
        calls.append(args)
        if len(calls) <= times:
            raise error or OSError(errno.EIO, os.strerror(errno.EIO))
        return work(*args, **kwargs)

    monkeypatch.setattr(owner, name, failing)
    return calls


def steps(directory):
    with Checkpointer(directory, read_only=True) as checkpoints:
        return checkpoints.steps()


def test_a_save_that_cannot_begin_is_tried_again(tmp_path, monkeypatch, waited):
    with Checkpointer(tmp_path) as checkpoints:
        fail(monkeypatch, ocp.CheckpointManager, "save", times=3)
        save(checkpoints, 1)
        assert_same(checkpoints.restore(abstract=abstract(make_state(1))), make_state(1))
    assert waited == [1, 2, 4]


TENSORSTORE = ValueError("Error writing \"d/0a\": Input/output error [os_error_code='5' tensorstore_spec='...']")


@pytest.mark.parametrize(
    ("owner", "name", "error"),
    [(os, "rename", None), (ocp.StandardCheckpointHandler, "finalize", TENSORSTORE)],
    ids=["renaming", "TensorStore"],
)
def test_a_checkpoint_that_is_lost_in_the_background_is_said_and_the_next_one_is_written(
    tmp_path, monkeypatch, caplog, owner, name, error
):
    with Checkpointer(tmp_path, keep=3) as checkpoints:
        save(checkpoints, 1)
        checkpoints.wait()
        calls = fail(monkeypatch, owner, name, times=1, error=error)
        save(checkpoints, 2)
        save(checkpoints, 3)
        checkpoints.wait()
        assert calls
        lost = f"{tmp_path}: checkpoint of step 2 could not be written (Input/output error); the next one is tried"
        assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [lost]
        assert checkpoints.steps() == [1, 3]
        assert_same(checkpoints.restore(abstract=abstract(make_state(3))), make_state(3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000001", "00000003"], "nothing incomplete is left"


def test_the_third_lost_checkpoint_in_a_row_ends_the_run(tmp_path, monkeypatch):
    with Checkpointer(tmp_path) as checkpoints:
        fail(monkeypatch, os, "rename", times=3)
        save(checkpoints, 1)
        save(checkpoints, 2)
        save(checkpoints, 3)
        with pytest.raises(StorageError, match="cannot be saved; earlier checkpoints are intact: Input/output error"):
            save(checkpoints, 4)


def test_a_success_between_failures_counts(tmp_path, monkeypatch):
    with Checkpointer(tmp_path) as checkpoints:
        for step in (1, 4):
            fail(monkeypatch, os, "rename", times=2)
            save(checkpoints, step)
            save(checkpoints, step + 1)
            save(checkpoints, step + 2)
            checkpoints.wait()
    assert steps(tmp_path) == [6]


@pytest.mark.parametrize("end", [None, KeyboardInterrupt], ids=["done", "interrupted"])
def test_the_last_checkpoint_is_not_lost_without_a_word(tmp_path, monkeypatch, end):
    with pytest.raises(StorageError, match="Input/output error"):  # noqa: SIM117
        with Checkpointer(tmp_path) as checkpoints:
            fail(monkeypatch, os, "rename", times=1)
            save(checkpoints, 1)
            if end:
                raise end


def test_an_error_of_the_run_is_not_hidden_by_a_lost_checkpoint(tmp_path, monkeypatch, caplog):
    with pytest.raises(ZeroDivisionError):  # noqa: SIM117
        with Checkpointer(tmp_path) as checkpoints:
            fail(monkeypatch, os, "rename", times=1)
            save(checkpoints, 1)
            raise ZeroDivisionError
    assert "cannot be saved" in caplog.text


def test_several_processes_end_at_the_first_failure(tmp_path, monkeypatch, waited):
    """Orbax's barriers would keep the others waiting for one that tries again."""
    with Checkpointer(tmp_path) as checkpoints:
        fail(monkeypatch, os, "rename", times=1)
        save(checkpoints, 1)
        checkpoints._alone = False
        with pytest.raises(StorageError, match="Input/output error"):
            save(checkpoints, 2)
    assert not waited


def test_a_restore_is_tried_again(tmp_path, monkeypatch, waited):
    with Checkpointer(tmp_path) as checkpoints:
        save(checkpoints, 1)
    with Checkpointer(tmp_path, read_only=True) as checkpoints:
        fail(monkeypatch, ocp.CheckpointManager, "restore", times=2)
        assert checkpoints.restore_meta()["step"] == 1
        assert waited == [1, 2]
        fail(monkeypatch, ocp.CheckpointManager, "restore", times=100)
        with pytest.raises(StorageError, match="the checkpoint of step 1 cannot be read"):
            checkpoints.restore_meta()


def test_a_missing_permission_is_not_tried_again(tmp_path, monkeypatch, waited):
    with Checkpointer(tmp_path) as checkpoints:
        fail(monkeypatch, ocp.CheckpointManager, "save", 1, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
        with pytest.raises(UserError, match="step 1 cannot be saved.*Permission denied"):
            save(checkpoints, 1)
    assert not waited

"""A new folder replaces the old one completely or not at all."""

import re

import pytest

from irg_jax.checkpoints.bagel import folder
from irg_jax.core.errors import UserError
from tests.checkpoints.bagel import folders


def make(target, sources=(), overwrite=False, error=None):
    with folder.replacing(target, overwrite=overwrite, sources=sources) as partial:
        (partial / "new.txt").write_text("new")
        if error:
            raise error
    return folders.content(target)


@pytest.fixture
def old(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").write_text("old")
    return tmp_path / "out"


def test_a_target_that_exists_stays_untouched(old):
    with pytest.raises(UserError, match="out: exists already; choose another folder, or give --overwrite"):
        make(old)
    assert folders.content(old) == {"old.txt": b"old"}


def test_an_empty_target_is_used(tmp_path):
    (tmp_path / "out").mkdir()
    assert make(tmp_path / "out") == {"new.txt": b"new"}


def test_missing_parents_of_the_target_are_created(tmp_path):
    assert make(tmp_path / "a" / "b") == {"new.txt": b"new"}


def test_overwrite_replaces_the_old_folder(old):
    assert make(old, overwrite=True) == {"new.txt": b"new"}
    assert [path.name for path in old.parent.iterdir()] == ["out"], "nothing is left beside it"


@pytest.mark.parametrize("error", [UserError("bad"), KeyboardInterrupt(), ValueError("a bug")])
def test_the_old_folder_is_kept_when_the_new_one_is_not_completed(old, error):
    with pytest.raises(type(error)):
        make(old, overwrite=True, error=error)
    assert folders.content(old.parent) == {"out/old.txt": b"old"}


def test_the_new_folder_is_written_beside_the_old_one(old):
    with folder.replacing(old, overwrite=True, sources=[]) as partial:
        (partial / "new.txt").write_text("new")
        assert folders.content(old) == {"old.txt": b"old"}


@pytest.mark.parametrize("source", ["out", "out/inside", "."])
def test_a_target_that_overlaps_with_a_source_is_refused(old, source):
    (old / "inside").mkdir()
    with pytest.raises(UserError, match="out: is the source .*, or one of them is inside the other"):
        make(old, sources=[old.parent / source], overwrite=True)


def test_a_target_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/out: cannot be written: Not a directory"):
        make(tmp_path / "file" / "out")


@pytest.mark.parametrize(
    "error, reason",
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("INTERNAL: Error writing local file: Disk quota exceeded [OS error 122]"), "Disk quota exceeded"),
    ],
)
def test_a_disk_error_is_one_line(tmp_path, error, reason):
    with pytest.raises(UserError, match=f"out: cannot be written: {re.escape(reason)}$"):
        make(tmp_path / "out", error=error)
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_noticed_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match=r"needs 1000000.0 GB of free space, has \d+\.\d GB"):
        folder.require_space(tmp_path, 10**15)


def test_of_two_conversions_to_one_target_the_slower_one_is_refused(tmp_path, monkeypatch):
    with (
        pytest.raises(UserError, match="out: exists already"),
        folder.replacing(tmp_path / "out", overwrite=False, sources=[]),
    ):
        monkeypatch.setattr(folder.os, "getpid", lambda: -1)  # the other process
        make(tmp_path / "out")
    assert set(folders.content(tmp_path)) == {"out/new.txt"}


@pytest.mark.parametrize("there", [True, False])
def test_of_two_conversions_that_overwrite_one_target_the_last_one_is_whole(tmp_path, there, monkeypatch):
    if there:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "old.txt").write_text("old")
    with folder.replacing(tmp_path / "out", overwrite=True, sources=[]) as partial:
        (partial / "first.txt").write_text("")
        monkeypatch.setattr(folder.os, "getpid", lambda: -1)  # the other process
        make(tmp_path / "out", overwrite=True)
    assert set(folders.content(tmp_path)) == {"out/first.txt"}


def test_an_error_about_a_file_of_the_source_does_not_blame_the_target(tmp_path):
    (tmp_path / "in").mkdir()
    error = OSError(5, "Input/output error", str(tmp_path / "in" / "x.png"))
    with pytest.raises(UserError, match="in/x.png: cannot be read: Input/output error"):
        make(tmp_path / "out", sources=[tmp_path / "in"], error=error)


def test_a_target_that_is_a_link_is_replaced_where_it_leads(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "old.txt").write_text("")
    (tmp_path / "out").symlink_to("disk")
    make(tmp_path / "out", overwrite=True)
    assert set(folders.content(tmp_path / "disk")) == {"new.txt"}
    assert (tmp_path / "out").is_symlink()

"""A new folder takes its place whole or not at all."""

import re

import pytest

from irg_jax.bagel import folder
from irg_jax.errors import UserError
from tests.bagel import folders


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
    with pytest.raises(UserError, match="out: exists; choose another folder, or give --overwrite to replace it"):
        make(old)
    assert folders.content(old) == {"old.txt": b"old"}


def test_an_empty_target_is_used(tmp_path):
    (tmp_path / "out").mkdir()
    assert make(tmp_path / "out") == {"new.txt": b"new"}


def test_missing_folders_above_the_target_are_made(tmp_path):
    assert make(tmp_path / "a" / "b") == {"new.txt": b"new"}


def test_with_overwrite_the_new_one_takes_the_place_of_the_old(old):
    assert make(old, overwrite=True) == {"new.txt": b"new"}
    assert [path.name for path in old.parent.iterdir()] == ["out"], "nothing is left beside it"


@pytest.mark.parametrize("error", [UserError("bad"), KeyboardInterrupt(), ValueError("a bug")])
def test_the_old_one_stays_when_the_new_one_does_not_get_complete(old, error):
    with pytest.raises(type(error)):
        make(old, overwrite=True, error=error)
    assert folders.content(old.parent) == {"out/old.txt": b"old"}


def test_what_is_written_meanwhile_is_beside_the_old_one(old):
    with folder.replacing(old, overwrite=True, sources=[]) as partial:
        (partial / "new.txt").write_text("new")
        assert folders.content(old) == {"old.txt": b"old"}


@pytest.mark.parametrize("place", ["out", "out/inside", "."])
def test_the_source_is_never_the_target(old, place):
    (old / "inside").mkdir()
    with pytest.raises(UserError, match="are the same, or one lies inside the other"):
        make(old, sources=[old.parent / place], overwrite=True)


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
def test_a_disk_that_refuses_is_one_line(tmp_path, error, reason):
    with pytest.raises(UserError, match=f"out: cannot be written: {re.escape(reason)}$"):
        make(tmp_path / "out", error=error)
    assert list(tmp_path.iterdir()) == []


def test_too_little_space_is_noticed_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match=r"1000000.0 GB are needed there, \d+\.\d GB are free"):
        folder.require_space(tmp_path, 10**15)

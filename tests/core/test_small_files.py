"""Small files are written whole or not at all, and copies blame the side that is at fault."""

import os

import pytest

from irg_jax.core import small_files
from irg_jax.core.errors import UserError


def test_a_text_is_written_in_utf8_and_read_without_a_byte_order_mark(tmp_path):
    small_files.write_text(tmp_path / "a", "ü\n")
    assert (tmp_path / "a").read_bytes() == "ü\n".encode()
    (tmp_path / "b").write_bytes(b"\xef\xbb\xbfa\r\nb\n")
    assert small_files.read_text(tmp_path / "b") == "a\nb\n"


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        small_files.write_text(tmp_path / "a", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_a_copy_is_writable_and_made_once(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").chmod(0o444)
    small_files.copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").stat().st_mode & 0o200
    before = (tmp_path / "b").stat().st_ino
    small_files.copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").stat().st_ino == before
    (tmp_path / "a").chmod(0o644)
    (tmp_path / "a").write_text("y")
    small_files.copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "y", "the same size, other bytes"


@pytest.mark.parametrize("make", ["dangling", "loop", "pipe", "folder"])
def test_a_source_that_cannot_be_read_is_blamed(tmp_path, make):
    path = tmp_path / "in"
    if make == "pipe":
        os.mkfifo(path)
    elif make == "folder":
        path.mkdir()
    else:
        path.symlink_to("in" if make == "loop" else "nowhere")
    with pytest.raises(UserError, match=r"/in: cannot be read"):
        small_files.copy_file(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_target_that_cannot_be_written_is_blamed(tmp_path):
    (tmp_path / "a").write_text("x")
    with pytest.raises(UserError, match="gone/b: cannot be copied from"):
        small_files.copy_file(tmp_path / "a", tmp_path / "gone" / "b")
    with pytest.raises(UserError, match="a/folder: cannot be made"):
        (tmp_path / "from").mkdir()
        small_files.copy_files(tmp_path / "from", tmp_path / "a" / "folder")


def test_only_the_named_files_are_copied_and_no_folders(tmp_path):
    source = tmp_path / "from"
    (source / "inner").mkdir(parents=True)
    for name in ("a", "b"):
        (source / name).write_text(name)
    small_files.copy_files(source, tmp_path / "to", ["a", "inner", "gone"])
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["a"]


def test_a_link_to_nothing_is_there(tmp_path):
    (tmp_path / "link").symlink_to("/nowhere")
    assert small_files.is_there(tmp_path / "link")
    assert not small_files.is_there(tmp_path / "other")
    assert not small_files.is_there(tmp_path / "link" / "inside")


def test_a_folder_is_the_same_through_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    assert small_files.is_same_folder(tmp_path / "link", tmp_path)
    assert not small_files.is_same_folder(tmp_path / "other", tmp_path)


def test_only_the_line_ends_of_unix_and_windows_end_a_line(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_bytes("\ufeffone\r\ntwo\u2028parts\n\n three\x85\x0bparts \n".encode())
    assert small_files.read_lines(file, "prompts") == ["one", "two\u2028parts", "three\x85\x0bparts"]


def test_a_text_that_is_not_utf8_is_named_with_its_flag(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_bytes(b"caf\xe9\n")
    with pytest.raises(UserError, match="--prompts .*prompts.txt: cannot be read .*save it as UTF-8"):
        small_files.read_lines(file, "prompts")

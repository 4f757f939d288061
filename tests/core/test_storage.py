"""Errors that may pass are tried again for a minute, others end at once; small files are whole, also on buckets."""

import errno
import os
import pathlib

import jax
import pytest

from irg_jax.core import storage
from irg_jax.core.errors import StorageError, UserError
from irg_jax.core.small_files import copy_files, read_text, write_text
from irg_jax.core.storage import as_path, is_transient, is_transient_or_gone, retry
from tests import bucket


@pytest.fixture
def waited(monkeypatch):
    """The seconds that were waited, without waiting."""
    seconds = []
    monkeypatch.setattr(storage, "sleep", seconds.append)
    return seconds


def failing(*errors, result="done"):
    """Work that raises the errors in order, then gives the result."""
    left = list(errors)

    def work():
        if left:
            raise left.pop(0)
        return result

    return work


def os_error(number):
    return OSError(number, os.strerror(number))


def test_work_is_tried_again_until_it_succeeds(waited, caplog):
    work = failing(os_error(errno.EIO), os_error(errno.ESTALE), os_error(errno.ENOTCONN))
    assert retry(work, "file: cannot be read") == "done"
    assert waited == [1, 2, 4]
    assert [record.getMessage() for record in caplog.records] == [
        "file: cannot be read (Input/output error); next try in 1 s",
        "file: cannot be read (Stale file handle); next try in 2 s",
        "file: cannot be read (Transport endpoint is not connected); next try in 4 s",
    ]


def test_after_a_minute_it_is_a_storage_error(waited):
    with pytest.raises(StorageError) as error:
        retry(failing(*[os_error(errno.EIO)] * 7), "file: cannot be read")
    assert str(error.value) == "file: cannot be read (Input/output error), tried 7 times in 63 s"
    assert not isinstance(error.value, UserError)


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, r"cannot be written \(No space left on device\); free the disk"),
        (errno.EROFS, r"cannot be written \(Read-only file system\); choose another folder"),
        (errno.EACCES, r"cannot be written \(Permission denied\); check its permissions"),
    ],
)
def test_what_the_user_must_put_right_is_a_user_error_at_once(waited, number, message):
    with pytest.raises(UserError, match=f"^file: {message}$"):
        retry(failing(os_error(number)), "file: cannot be written")
    assert not waited


def test_a_missing_file_and_a_bug_pass_through_at_once(waited):
    for error in (os_error(errno.ENOENT), KeyError("x"), UserError("wrong: Input/output error")):
        with pytest.raises(type(error)):
            retry(failing(error), "file: cannot be read")
    assert not waited


def test_a_file_that_was_there_may_come_back_with_its_mount(waited):
    assert retry(failing(os_error(errno.ENOENT)), "file: cannot be read", retry_if=is_transient_or_gone) == "done"
    assert waited == [1]


class HttpError(Exception):
    code = 503


@pytest.mark.parametrize(
    "error",
    [
        ValueError("UNAVAILABLE: the server is overloaded [tensorstore_spec=...]"),
        ValueError("Error writing \"d/1\": Input/output error [os_error_code='5']"),
        RuntimeError("open() failed: Transport endpoint is not connected; opening data.array_record"),
        ConnectionResetError(),
        TimeoutError("no answer"),
        HttpError(),
    ],
    ids=repr,
)
def test_errors_in_the_words_of_libraries_are_recognised(error):
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("PERMISSION_DENIED: UNAVAILABLE to you"),
        ValueError("a leaf has the wrong shape"),
        jax.errors.JaxRuntimeError("UNAVAILABLE: a process has gone"),
        os_error(errno.EINVAL),
        KeyboardInterrupt("Input/output error"),
    ],
    ids=repr,
)
def test_other_errors_are_not(error):
    assert not is_transient(error)


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_text(tmp_path / "a", "first\n")

    def fail(*_):
        raise os_error(errno.EIO)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError):
        write_text(tmp_path / "a", "second\n")
    assert read_text(tmp_path / "a") == "first\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_path_is_absolute_or_a_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(as_path("run")) == f"{tmp_path}/run"
    url = bucket.install(monkeypatch, tmp_path)
    path = as_path(f"{url}/run") / "config.json"
    assert str(path) == "gs://bucket/run/config.json" and not path.exists()
    write_text(path, "ü\n")
    assert read_text(path) == "ü\n" and str(path.parent) == "gs://bucket/run"


def test_a_url_of_an_unknown_kind_or_without_its_package_is_refused(monkeypatch):
    with pytest.raises(UserError, match="ftp://host/run: ftp:// is not supported"):
        as_path("ftp://host/run")
    with pytest.raises(UserError, match="gs:/bucket/run: a URL has two slashes; write gs://bucket/run"):
        as_path(pathlib.Path("gs://bucket/run"))

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr("fsspec.get_filesystem_class", missing)
    with pytest.raises(
        UserError, match=r"gs://bucket/run: a package .* install the extra gcs: pip install 'irg-jax\[gcs"
    ):
        as_path("gs://bucket/run")


def test_files_on_buckets_are_seen_when_they_are_closed(tmp_path, monkeypatch):
    assert storage.appears_when_closed("gs://bucket/run")
    monkeypatch.setattr(storage, "_file_system", lambda path, mounts: "ext4")
    assert not storage.appears_when_closed(tmp_path)
    monkeypatch.setattr(storage, "_file_system", lambda path, mounts: "fuse.gcsfuse")
    assert storage.appears_when_closed(tmp_path)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/run", "overlay"),
        ("/mnt/my bucket", "fuse.gcsfuse"),
        ("/mnt/my bucket/run", "fuse.gcsfuse"),
        ("/mnt/my bucket2", "ext4"),
        ("/data/run", "tmpfs"),
    ],
)
def test_the_file_system_of_a_path_is_that_of_the_mount_around_it(path, kind):
    mounts = ["overlay / overlay rw 0 0", "/dev/sda /mnt ext4 rw 0 0", "b /mnt/my\\040bucket fuse.gcsfuse rw 0 0"]
    mounts += ["old /data nfs4 rw 0 0", "tmpfs /data tmpfs rw 0 0"]
    assert storage._file_system(path, mounts) == kind


def test_the_files_of_a_folder_are_copied_to_a_bucket(tmp_path, monkeypatch):
    url = bucket.install(monkeypatch, tmp_path / "cloud")
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "vocab.json").write_text("{}")
    copy_files(tmp_path / "tokenizer", f"{url}/run/tokenizer")
    assert read_text(f"{url}/run/tokenizer/vocab.json") == "{}"
    with pytest.raises(UserError, match="nowhere: no such folder"):
        copy_files(tmp_path / "nowhere", f"{url}/run/tokenizer")

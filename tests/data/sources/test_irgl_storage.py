"""The published layout on storage that answers with errors, and on buckets."""

import errno
import os
import shutil

import pytest

from irg_jax.core import storage
from irg_jax.core.errors import StorageError, UserError
from irg_jax.data.sources import irgl, parquet
from tests import bucket
from tests.data.sources.test_irgl import prompts, rows, write

PROMPTS = ["first 0", "first 1", "second 0", "second 1"]


@pytest.fixture
def folder(tmp_path):
    """A data set of two files, one of them a folder of files."""
    write(tmp_path / "set" / "full" / "part-00000.parquet", rows("first", 2))
    write(tmp_path / "set" / "full" / "part-00001.parquet" / "piece.parquet", rows("second", 2))
    return tmp_path / "set"


@pytest.fixture
def waited(monkeypatch):
    """The seconds that were waited, without waiting."""
    seconds = []
    monkeypatch.setattr(storage, "sleep", seconds.append)
    return seconds


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_errors_that_pass_are_survived(folder, monkeypatch, waited, number):
    source, read, left = irgl.open_source(folder, "full"), parquet.read_group, [1, 2, 3]

    def failing(*arguments):
        if left:
            left.pop()
            raise OSError(number, os.strerror(number))
        return read(*arguments)

    monkeypatch.setattr(parquet, "read_group", failing)
    assert prompts(source, [3]) == ["second 1"]
    assert waited == [1, 2, 4]


def test_a_mount_may_be_gone_for_a_while(folder, monkeypatch):
    source = irgl.open_source(folder, "full")
    gone = folder.rename(folder.with_name("gone"))
    monkeypatch.setattr(storage, "sleep", lambda seconds: seconds == 8 and gone.rename(folder))
    assert prompts(source, range(4)) == PROMPTS


def test_a_mount_that_stays_away_is_a_storage_error_that_names_the_record(folder, waited):
    source = irgl.open_source(folder, "full")
    path = folder / "full" / "part-00000.parquet"
    path.unlink()
    with pytest.raises(StorageError, match=rf"^{path}: record full/part-00000.parquet:1 cannot be read \(No such file"):
        source.read(1)
    assert sum(waited) == 63


def test_a_data_set_may_lie_on_a_bucket(folder, tmp_path, monkeypatch):
    url = bucket.install(monkeypatch, tmp_path / "cloud")
    shutil.copytree(folder / "full", tmp_path / "cloud" / "bucket" / "set" / "full")
    source = irgl.open_source(f"{url}/set", "full")
    assert prompts(source, range(4)) == PROMPTS
    assert source.key(3) == "full/part-00001.parquet/piece.parquet:1"
    with pytest.raises(UserError, match=f"{url}/set/other: no .*parquet files; the folders in {url}/set are full"):
        irgl.open_source(f"{url}/set", "other")

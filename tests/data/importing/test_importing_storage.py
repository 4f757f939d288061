"""Input on buckets, and on storage that answers with errors."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from irg_jax.core import storage
from irg_jax.core.errors import StorageError
from irg_jax.data.importing import parquet_rows
from tests import bucket
from tests.data.importing.inputs import TOY, build_from, encoded, records


@pytest.fixture
def cloud(tmp_path, monkeypatch):
    """The URL of a bucket, and the folder that it lies in."""
    return bucket.install(monkeypatch, tmp_path / "cloud"), tmp_path / "cloud" / "bucket"


def test_the_published_folders_may_lie_on_a_bucket(cloud, tmp_path):
    url, folder = cloud
    shutil.copytree(TOY, folder / "toy")
    build_from(f"parquet:{url}/toy", tmp_path / "there")
    build_from(f"parquet:{TOY}", tmp_path / "here")
    assert records(tmp_path / "there") == records(tmp_path / "here")


def test_records_and_tables_may_lie_on_a_bucket(cloud, tmp_path):
    url, folder = cloud
    (folder / "a.png").write_bytes(encoded())
    (folder / "in.jsonl").write_text(json.dumps({"prompt": "a", "image2": "a.png"}))
    pq.write_table(pa.table({"caption": ["b"], "image": [encoded()]}), folder / "in.parquet")
    for source, prompt in ((f"records:{url}/in.jsonl", "a"), (f"hf:{url}", "b")):
        build_from(source, tmp_path / prompt)
        assert [(r.prompt, r.image2) for r in records(tmp_path / prompt)] == [(prompt, encoded())]


def test_a_read_that_fails_for_a_while_is_tried_again_and_loses_no_row(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "sleep", lambda seconds: None)
    monkeypatch.setattr(parquet_rows, "_BATCH", 3)
    decode, left = parquet_rows.pq.ParquetFile.iter_batches, [5]

    def failing(file, *arguments, **options):
        for number, batch in enumerate(decode(file, *arguments, **options)):
            if left[0] and number == 1:
                left[0] -= 1
                raise OSError(5, "Input/output error")
            yield batch

    monkeypatch.setattr(parquet_rows.pq.ParquetFile, "iter_batches", failing)
    report = build_from(f"parquet:{TOY}", tmp_path / "out")
    assert left == [0] and report["rejected"] == 0 and len(records(tmp_path / "out")) == 24


def test_storage_that_stays_away_is_a_storage_error(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "sleep", lambda seconds: None)

    def failing(*arguments, **options):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(parquet_rows.pq.ParquetFile, "iter_batches", failing)
    with pytest.raises(StorageError, match=r"row 0 cannot be read \(Input/output error\), tried 7 times"):
        build_from(f"parquet:{TOY}", tmp_path / "out")
    assert not (tmp_path / "out").exists()

"""Files of the safetensors library are read in rows, and the library reads the files that are written in blocks."""

import json
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from irg_jax.checkpoints.bagel import tensor_file
from irg_jax.core.errors import UserError
from tests.checkpoints.bagel import folders
from tests.commands import ROOT

RNG = np.random.default_rng(0)
WEIGHTS = {
    "wide": RNG.normal(size=(5, 7)).astype(np.float32),
    "short": RNG.normal(size=(6, 2, 3)).astype(ml_dtypes.bfloat16),
    "flat": RNG.normal(size=9).astype(np.float16),
}


@pytest.fixture
def file(tmp_path):
    save_file(WEIGHTS, tmp_path / "file.safetensors", {"format": "pt"})
    return tmp_path / "file.safetensors"


def test_rows_of_a_file_of_the_library_are_read(file):
    found = tensor_file.read_header(file)
    assert tensor_file.metadata_of(found.header) == {"format": "pt"}
    for key, value in WEIGHTS.items():
        rows = tensor_file.read_rows(found.tensors[key], 1, 4)
        assert rows.dtype == value.dtype
        np.testing.assert_array_equal(rows, value[1:4])


def test_the_library_reads_a_file_written_in_blocks_in_any_order(tmp_path):
    path = tmp_path / "new.safetensors"
    header = tensor_file.make_header({k: (tensor_file.CODES[v.dtype], v.shape) for k, v in WEIGHTS.items()}, {"a": "é"})
    found = tensor_file.parse_header(path, header)
    with tensor_file.Writer([found]) as writer:
        writer.put(found.tensors["wide"], WEIGHTS["wide"][3:, 4:], 3, 4)
        writer.put(found.tensors["wide"], WEIGHTS["wide"][3:, :4], 3)
        writer.put(found.tensors["flat"], WEIGHTS["flat"], 0)
        writer.put(found.tensors["short"], WEIGHTS["short"][2:], 2)
        writer.put(found.tensors["short"], WEIGHTS["short"][:2], 0)
        writer.put(found.tensors["wide"], WEIGHTS["wide"][:3], 0)
    written = folders.saved(path)
    assert written.keys() == WEIGHTS.keys()
    for key, value in WEIGHTS.items():
        np.testing.assert_array_equal(written[key], value)
    assert tensor_file.read_header(path) == found


def test_row_blocks_cover_the_rows_and_begin_at_multiples(monkeypatch):
    monkeypatch.setattr(tensor_file, "BLOCK_BYTES", 100)
    assert list(tensor_file.row_blocks(25, row_bytes=10)) == [(0, 10), (10, 20), (20, 25)]
    assert list(tensor_file.row_blocks(25, row_bytes=10, multiple=4)) == [(0, 8), (8, 16), (16, 24), (24, 25)]
    assert list(tensor_file.row_blocks(3, row_bytes=1000)) == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize("dtype", list(tensor_file.CODES))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_found(dtype, bad):
    largest = float(ml_dtypes.finfo(dtype).max)
    values = np.array([[0.0, -largest], [largest, float(ml_dtypes.finfo(dtype).tiny)]]).astype(dtype)
    assert tensor_file.all_finite(values)
    values[1, 0] = bad
    assert not tensor_file.all_finite(values)


def test_reading_rows_needs_memory_for_these_rows_only(tmp_path):
    """The library maps the file into memory; its pages must not stay counted as ours."""
    size = 64 * 2**20
    save_file({"a": np.ones((64, size // 256), np.float32)}, tmp_path / "large.safetensors")
    code = f"""
import pathlib, resource
from irg_jax.checkpoints.bagel import tensor_file
tensor = tensor_file.read_header(pathlib.Path({str(tmp_path / "large.safetensors")!r})).tensors["a"]
tensor_file.read_rows(tensor, 0, 1)
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for first in range(0, 64, 4):
    tensor_file.read_rows(tensor, first, first + 4)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < size / 2


# --- damage


def with_header(path, header: bytes, data: bytes) -> None:
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


@pytest.mark.parametrize("kept", [0, 5, 20, -1])
def test_a_file_that_is_cut_off_is_refused(file, kept):
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"file.safetensors: .*cut off.*copy it again"):
        tensor_file.read_header(file)


def test_a_file_with_bytes_after_its_tensors_is_refused(file):
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(UserError, match="is too long: its header describes .* bytes, it has"):
        tensor_file.read_header(file)


@pytest.mark.parametrize("kept", [0, 30, -1])
def test_a_file_that_becomes_shorter_after_its_header_was_read_is_refused(file, kept):
    tensor = tensor_file.read_header(file).tensors["wide"]
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UserError, match="file.safetensors: changed while it was read .*copy it again"):
        tensor_file.read_rows(tensor, 0, 5)


def test_a_file_that_is_removed_after_its_header_was_read_is_named(file):
    tensor = tensor_file.read_header(file).tensors["wide"]
    file.unlink()
    with pytest.raises(UserError, match="file.safetensors: cannot be read: No such file or directory"):
        tensor_file.read_rows(tensor, 0, 5)


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "header",
    [
        b"not json at all",
        b'{"a": 3}',
        json.dumps({"a": ENTRY | {"dtype": "F7"}}).encode(),
        json.dumps({"a": ENTRY, "b": ENTRY}).encode(),
        json.dumps({"a": ENTRY | {"data_offsets": [4, 12]}}).encode(),
        json.dumps({"a": ENTRY | {"shape": [3]}}).encode(),
        b'{"a": %s, "a": %s}' % ((json.dumps(ENTRY).encode(),) * 2),
    ],
    ids=["no json", "no entry", "unknown type", "overlap", "gap", "shape", "duplicate key"],
)
def test_a_damaged_header_is_refused(tmp_path, header):
    with_header(tmp_path / "x.safetensors", header, bytes(8))
    with pytest.raises(UserError, match=r"x.safetensors: its safetensors header is damaged"):
        tensor_file.read_header(tmp_path / "x.safetensors")

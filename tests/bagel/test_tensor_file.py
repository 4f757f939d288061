"""The format in pieces: what its own library writes is read, what is written its own library reads."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from irg_jax.bagel import tensor_file
from irg_jax.errors import UserError
from tests.bagel import folders

RNG = np.random.default_rng(0)
WEIGHTS = {
    "wide": RNG.normal(size=(5, 7)).astype(np.float32),
    "half": RNG.normal(size=(6, 2, 3)).astype(ml_dtypes.bfloat16),
    "flat": RNG.normal(size=9).astype(np.float16),
}


@pytest.fixture
def file(tmp_path):
    save_file(WEIGHTS, tmp_path / "file.safetensors", {"format": "pt"})
    return tmp_path / "file.safetensors"


def test_rows_are_read_from_what_the_library_wrote(file):
    table = tensor_file.read_table(file)
    assert tensor_file.metadata_of(table.header) == {"format": "pt"}
    for key, value in WEIGHTS.items():
        rows = tensor_file.read_rows(table.tensors[key], 1, 4)
        assert rows.dtype == value.dtype
        np.testing.assert_array_equal(rows, value[1:4])


def test_the_library_reads_what_was_written_in_blocks_of_any_order(tmp_path):
    path = tmp_path / "new.safetensors"
    header = tensor_file.make_header({k: (tensor_file.CODES[v.dtype], v.shape) for k, v in WEIGHTS.items()}, {"a": "é"})
    table = tensor_file.parse_table(path, header)
    with tensor_file.Writer([table]) as writer:
        writer.put(table.tensors["wide"], WEIGHTS["wide"][3:, 4:], 3, 4)
        writer.put(table.tensors["wide"], WEIGHTS["wide"][3:, :4], 3)
        writer.put(table.tensors["flat"], WEIGHTS["flat"], 0)
        writer.put(table.tensors["half"], WEIGHTS["half"][2:], 2)
        writer.put(table.tensors["half"], WEIGHTS["half"][:2], 0)
        writer.put(table.tensors["wide"], WEIGHTS["wide"][:3], 0)
    written = folders.stored(path)
    assert written.keys() == WEIGHTS.keys()
    for key, value in WEIGHTS.items():
        np.testing.assert_array_equal(written[key], value)
    assert tensor_file.read_table(path) == table


def test_steps_cover_the_rows_at_the_multiples_asked_for(monkeypatch):
    monkeypatch.setattr(tensor_file, "PIECE", 100)
    assert list(tensor_file.steps(25, row_bytes=10)) == [(0, 10), (10, 20), (20, 25)]
    assert list(tensor_file.steps(25, row_bytes=10, multiple=4)) == [(0, 8), (8, 16), (16, 24), (24, 25)]
    assert list(tensor_file.steps(3, row_bytes=1000)) == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize("dtype", list(tensor_file.CODES))
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_found(dtype, bad):
    largest = float(ml_dtypes.finfo(dtype).max)
    values = np.array([[0.0, -largest], [largest, float(ml_dtypes.finfo(dtype).tiny)]]).astype(dtype)
    assert tensor_file.finite(values)
    values[1, 0] = bad
    assert not tensor_file.finite(values)


# --- damage


def with_header(path, header: bytes, data: bytes) -> None:
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


@pytest.mark.parametrize("kept", [0, 5, 20, -1])
def test_a_file_that_is_cut_off_is_refused(file, kept):
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"file.safetensors: .*cut off.*copy it again"):
        tensor_file.read_table(file)


def test_a_file_with_something_behind_its_numbers_is_refused(file):
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(UserError, match="is too long: its table describes .* bytes, it has"):
        tensor_file.read_table(file)


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
    ids=["no json", "no entry", "unknown type", "overlap", "gap", "shape", "key twice"],
)
def test_a_damaged_table_is_refused(tmp_path, header):
    with_header(tmp_path / "x.safetensors", header, bytes(8))
    with pytest.raises(UserError, match=r"x.safetensors: its safetensors table is damaged"):
        tensor_file.read_table(tmp_path / "x.safetensors")

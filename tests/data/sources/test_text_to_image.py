"""Images with captions from parquet files: one conversation per caption, and every fault is named."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.sources import parquet, text_to_image
from tests.data.sources.checks import check_imports, check_source, crc

ROWS = [(b"one", '{"short": "a bench", "long": "A bench, seen from above."}'), (b"two", '{"b": "two", "a": "zwei"}')]


def write(path, rows, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    images, captions = zip(*rows, strict=True)
    columns = {
        "image": pa.array(images, pa.binary()),
        "captions": pa.array(captions, pa.string()),
        "id": [7] * len(rows),
    }
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.fixture
def source(tmp_path):
    write(tmp_path / "b.parquet", ROWS[1:])
    write(tmp_path / "a" / "part-0.parquet", ROWS * 2, row_group_size=3)
    return text_to_image.open_source(tmp_path)


def test_a_row_becomes_one_conversation_for_each_caption_in_order(source):
    key = "a/part-0.parquet:3"
    image = Image(b"two", need_loss=True)
    record = source.read(3)
    assert record.conversations == tuple(Conversation(key, (Text(text), image)) for text in ("two", "zwei"))
    assert record.crc == crc(*(x if isinstance(x, bytes) else x.encode() for x in ROWS[1]))


def test_it_is_a_source(source, tmp_path):
    assert (source.kind, [file.path for file in source.files]) == (
        "text to image v1",
        ["a/part-0.parquet", "b.parquet"],
    )
    check_source(source, tmp_path)
    check_imports(text_to_image.__name__)


BAD = [
    # image, captions, message
    (None, '{"a": "b"}', "image is null; write the image or remove the record"),
    (b"", '{"a": "b"}', "image is empty; write the image or remove the record"),
    (b"x", None, "captions is null; write a JSON object"),
    (b"x", "a bench", "captions is not valid JSON"),
    (b"x", '{"a": "b", "a": "c"}', "captions is not valid JSON .*'a' appears twice"),
    (b"x", '["a bench"]', r'captions is \["a bench"\]; it must be an object'),
    (b"x", "{}", "captions has no captions; write at least one"),
    (b"x", '{"a": "b", "c": " "}', r'captions\["c"\] is empty; write it'),
    (b"x", '{"a": null}', r'captions\["a"\] is null; it must be a string'),
    (b"x", '{"a": ["b"]}', r'captions\["a"\] is \["b"\]; it must be a string'),
    (b"x", '{"a": "\\ud83d"}', r'captions\["a"\] has half of a surrogate pair'),
]


@pytest.mark.parametrize(("image", "captions", "message"), BAD)
def test_a_bad_row_is_named(tmp_path, image, captions, message):
    write(tmp_path / "a.parquet", [*ROWS, (image, captions)])
    source = text_to_image.open_source(tmp_path)
    with pytest.raises(UserError, match=f"^record a.parquet:2: {message}"):
        source.read(2)
    assert source.read(1)


BAD_COLUMNS = [
    ({"image": [b"x"]}, "needs one column 'captions', has image"),
    ({"captions": ["{}"]}, "needs one column 'image', has captions"),
    ({"image": ["x"], "captions": ["{}"]}, "the column 'image' is of type string; write it as encoded bytes"),
    ({"image": [{"bytes": b"x"}], "captions": ["{}"]}, "the column 'image' is of type struct.*; write it as encoded"),
    ({"image": [b"x"], "captions": [["a"]]}, "the column 'captions' is of type list.*; write it as strings of JSON"),
]


@pytest.mark.parametrize(("columns", "message"), BAD_COLUMNS)
def test_bad_columns_are_named(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=f"^{tmp_path}/a.parquet: {message}"):
        text_to_image.open_source(tmp_path)


def test_a_column_whose_name_is_damaged_is_named_by_its_file(tmp_path):
    path = write(tmp_path / "a.parquet", [(b"x", '{"a": "b"}')])
    path.write_bytes(path.read_bytes().replace(b"captions", b"caption\xff"))
    with pytest.raises(UserError, match=f"^{path}: cannot be read as parquet .*'utf-8' codec"):
        text_to_image.open_source(tmp_path)


def test_folders_without_rows_are_named(tmp_path):
    with pytest.raises(UserError, match=f"^{tmp_path}/none: no such folder"):
        text_to_image.open_source(tmp_path / "none")
    with pytest.raises(UserError, match=f"^{tmp_path}: no .*parquet files"):
        text_to_image.open_source(tmp_path)
    columns = {"image": pa.array([], pa.binary()), "captions": pa.array([], pa.string())}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=f"^{tmp_path}: its parquet files have no rows"):
        text_to_image.open_source(tmp_path)


def test_large_row_groups_are_refused_by_the_columns_that_are_read(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", [(bytes(5000), '{"a": "b"}')] * 3, use_dictionary=False)
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 10_000)
    with pytest.raises(UserError, match=f"^{path}: row group 0 has .* MiB, .* write the file again with smaller ones"):
        text_to_image.open_source(tmp_path)
    write(path, [(bytes(5000), '{"a": "b"}')] * 3, use_dictionary=False, row_group_size=1)
    assert len(text_to_image.open_source(tmp_path)) == 3

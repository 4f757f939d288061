"""Records, folders and Hugging Face tables: what becomes a record, what is rejected and why."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data.importing import values
from irg_jax.data.trajectory import content_hash
from tests.data.importing.inputs import animated, build_from, encoded, records, rejected

RED, BLUE, JPEG = encoded(color=(255, 0, 0)), encoded(color=(0, 0, 255)), encoded(kind="JPEG")


def lines(folder, *objects):
    """Writes a file of records, each an object or the bytes of a line."""
    raw = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in objects]
    (folder / "in.jsonl").write_bytes(b"\n".join(raw))
    return f"records:{folder / 'in.jsonl'}"


# --- records


def test_a_line_becomes_a_record_with_all_it_says(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(RED)
    (tmp_path / "images" / "b.png").write_bytes(BLUE)
    whole = {
        "key": "first",
        "prompt": "a cat — größer",
        "thinking1": "<think> 1 </think>",
        "image1": "images/a.png",
        "thinking2": "<think> 2 </think>",
        "image2": "images/b.png",
        "source": "photos",
        "licence": "CC0-1.0",
        "teachers": {"thinking1": "a model"},
        "templates": {"thinking1": "plan {prompt}"},
    }
    source = lines(tmp_path, whole, b"", {"prompt": "a dog", "image2": None, "score": 3})
    report = build_from(source, tmp_path / "out", defaults=values_defaults())
    first, second = records(tmp_path / "out")
    assert (first.key, first.prompt, first.image1, first.image2) == ("first", whole["prompt"], RED, BLUE)
    assert (first.source, first.licence, first.hash) == ("photos", "CC0-1.0", content_hash(first))
    assert json.loads(first.teachers) == {"thinking1": "a model", "templates": {"thinking1": "plan {prompt}"}}
    assert (second.key, second.prompt, second.image2, second.licence) == ("in.jsonl:2", "a dog", b"", "unknown")
    assert report["noted"] == {values.UNUSED.format("score"): 1}


def values_defaults():
    from irg_jax.data.importing.write import Defaults

    return Defaults(licence="unknown")


REASONS = [
    (b"{", "the line is not valid JSON"),
    (b"[1]", "the line is not a JSON object"),
    (b'{"prompt": "\xff"}', "the line is not UTF-8"),
    (b'{"prompt": "a", "prompt": "b"}', "the key 'prompt' appears twice in one object"),
    ({"thinking1": "x"}, "prompt is missing"),
    ({"prompt": None}, "prompt is missing"),
    ({"prompt": 3}, "prompt is '3', not a text"),
    ({"prompt": ""}, "prompt is empty"),
    ({"prompt": "a", "thinking1": "\n"}, "thinking1 is empty"),
    ({"prompt": "a", "image2": "none.png"}, "No such file or directory"),
    ({"prompt": "a", "image2": "."}, "is a folder"),
    ({"prompt": "a", "image2": ""}, "image2 is empty"),
    ({"prompt": "a", "image2": "empty.png"}, "image2 is empty"),
    ({"prompt": "a", "image2": "moving.gif"}, "image2: is animated, 3 frames"),
    ({"prompt": "a", "teachers": ["x"]}, "teachers is not an object"),
    (b'{"prompt": "a", "source": "\\ud800"}', "source has half of a surrogate pair"),
    ({"prompt": "b", "key": "good"}, "its key is also that of in.jsonl row 0"),
]


def test_every_bad_line_is_listed_with_its_reason(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "moving.gif").write_bytes(animated())
    source = lines(tmp_path, {"prompt": "a", "key": "good"}, *(line for line, _ in REASONS))
    build_from(source, tmp_path / "out")
    found = rejected(tmp_path / "out")
    assert [(one["file"], one["row"]) for one in found] == [("in.jsonl", i + 1) for i in range(len(REASONS))]
    for one, (_, reason) in zip(found, REASONS, strict=True):
        assert reason in one["reason"] and "\n" not in one["reason"]
    assert [record.key for record in records(tmp_path / "out")] == ["good"]


def test_records_of_equal_contents_become_one_and_are_counted(tmp_path):
    source = lines(tmp_path, {"prompt": "a", "key": "1"}, {"prompt": "b", "key": "2"}, {"prompt": "a", "key": "3"})
    report = build_from(source, tmp_path / "out")
    assert [record.key for record in records(tmp_path / "out")] == ["1", "2"]
    assert report["noted"] == {"rows merged into the record of another one": 1}


def test_the_order_of_many_lines_is_kept(tmp_path, monkeypatch):
    from irg_jax.data.importing import records as importer

    monkeypatch.setattr(importer, "_PIECE_LINES", 7)
    build_from(lines(tmp_path, *({"prompt": f"number {i}"} for i in range(50))), tmp_path / "out")
    assert [record.prompt for record in records(tmp_path / "out")] == [f"number {i}" for i in range(50)]


# --- folders


def test_images_with_texts_beside_them_become_records(tmp_path):
    folder = tmp_path / "in"
    (folder / "more").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "a.png").write_bytes(RED)
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbfa red square\r\n")
    (folder / "more" / "b.jpg").write_bytes(BLUE)  # a PNG
    (folder / "more" / "b.json").write_text(json.dumps({"prompt": "a blue one", "image1": "c.webp", "licence": "CC0"}))
    (folder / "more" / "c.webp").write_bytes(encoded(kind="WEBP"))
    (folder / ".hidden" / "d.png").write_bytes(RED)
    report = build_from(f"folder:{folder}", tmp_path / "out")
    first, second = records(tmp_path / "out")
    assert (first.key, first.prompt, first.image2) == ("a.png", "a red square", RED)
    assert (second.key, second.prompt, second.image2, second.licence) == ("more/b.jpg", "a blue one", BLUE, "CC0")
    assert second.image1 == encoded(kind="WEBP")
    assert report["noted"] == {values.OTHER_FORMAT: 1}
    (one,) = rejected(tmp_path / "out")
    assert one == {"file": "more/c.webp", "row": None, "reason": "has no .txt or .json of the same name beside it"}


@pytest.mark.parametrize(
    ("text", "properties", "reason"),
    [
        (b"a", {"prompt": "b"}, "both a.json and a.txt have a prompt"),
        (None, {"prompt": "b", "image2": "x.png"}, "a.json has image2, which is the image beside it"),
        (None, {"source": "b"}, "prompt is missing"),
        (b" \n", None, "prompt is empty"),
        (b"\xff", None, "a.txt is not UTF-8"),
    ],
)
def test_bad_texts_beside_an_image_are_listed(tmp_path, text, properties, reason):
    for name in ("a", "good"):
        (tmp_path / f"{name}.png").write_bytes(RED)
    (tmp_path / "good.txt").write_text("good")
    if text is not None:
        (tmp_path / "a.txt").write_bytes(text)
    if properties is not None:
        (tmp_path / "a.json").write_text(json.dumps(properties))
    build_from(f"folder:{tmp_path}", tmp_path / "out")
    (one,) = rejected(tmp_path / "out")
    assert one["file"] == "a.png" and reason in one["reason"]


# --- Hugging Face


def images(*contents):
    return pa.array([content and {"bytes": content, "path": None} for content in contents])


def table(folder, **columns):
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / "train-00000-of-00001.parquet")
    return f"hf:{folder}"


@pytest.mark.parametrize(
    "texts",
    [
        pa.array(["a", "b"]),
        pa.array(["a", "b"], pa.large_string()),
        pa.array(["a", "b"], pa.string_view()),
        pa.array(["a", "b"]).dictionary_encode(),
    ],
)
def test_columns_of_any_kind_of_text_are_guessed(tmp_path, texts):
    build_from(table(tmp_path / "in" / "data", caption=texts, image=images(RED, JPEG)), tmp_path / "out")
    made = records(tmp_path / "out")
    assert [(record.prompt, record.image2) for record in made] == [("a", RED), ("b", JPEG)]
    assert made[1].key == "train-00000-of-00001.parquet:1"


def test_columns_are_mapped_by_name_and_into_structs(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.png").write_bytes(BLUE)
    source = table(
        tmp_path / "in",
        meta=pa.array([{"de": "eine Katze"}, {"de": "ein Hund"}, {"de": None}]),
        draft=pa.array([{"bytes": None, "path": "x.png"}, None, None]),
        final=pa.array([RED, JPEG, RED], pa.binary()),
        source=pa.array([1, 2, 3]),
    )
    columns = {"prompt": "meta.de", "image1": "draft", "image2": "final", "source": ""}
    build_from(source, tmp_path / "out", columns=columns)
    assert [(r.prompt, r.image1, r.image2) for r in records(tmp_path / "out")] == [
        ("eine Katze", BLUE, RED),
        ("ein Hund", b"", JPEG),
    ]
    assert [(one["row"], one["reason"]) for one in rejected(tmp_path / "out")] == [(2, "prompt is missing")]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"prompt": "title"}, "--columns: no file has the column 'title'; there are image, name"),
        ({"promt": "name"}, "--columns: 'promt' is not one of key, prompt"),
        ({}, "no column for the prompt; give --columns prompt=NAME, with one of image, name"),
    ],
)
def test_columns_that_do_not_fit_are_named(tmp_path, columns, message):
    source = table(tmp_path / "in", name=pa.array(["a"]), image=images(RED))
    with pytest.raises(UserError, match=message):
        build_from(source, tmp_path / "out", columns=columns)


def test_a_file_that_lacks_a_column_is_rejected_with_its_rows(tmp_path):
    source = table(tmp_path / "in", prompt=pa.array(["a"]), image=images(RED))
    pq.write_table(pa.table({"prompt": ["b", "c"]}), tmp_path / "in" / "other.parquet")
    report = build_from(source, tmp_path / "out")
    assert report["rejected"] == 2
    assert rejected(tmp_path / "out") == [
        {"file": "other.parquet", "row": None, "reason": "the file has no column 'image'", "rows": 2}
    ]

"""Questions and answers about pictures from JSONL files, and every fault is named."""

import json

import pytest

from irg_jax.core import storage
from irg_jax.core.errors import StorageError, UserError
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.sources import llava
from tests import bucket
from tests.data.sources.checks import check_imports, check_source, crc


def human(value):
    return {"from": "human", "value": value}


def gpt(value="Red."):
    return {"from": "gpt", "value": value}


def record(*turns, **fields):
    return {"id": "7", **fields, "conversations": list(turns)}


GOOD = record(human("What is it? <image>"), gpt(), image="a.png")


def write(path, records):
    """Writes records, or lines as they are."""
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in records]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.png").write_bytes(b"A")
    (tmp_path / "sub" / "b.png").write_bytes(b"B")
    return tmp_path


def read(folder, *records):
    write(folder / "chat.jsonl", records)
    source = llava.open_source(folder)
    return source.read(len(records) - 1)


A, B = Image(b"A", need_vit=True), Image(b"B", need_vit=True)
RED = Text("Red.", need_loss=True)
LAYOUTS = [
    # record, parts
    (GOOD, [Text("What is it?"), A, RED]),
    (
        record(human("<image>\nWhat is it?"), gpt(" Red. "), image="a.png"),
        [A, Text("What is it?"), Text(" Red. ", True)],
    ),
    (record(human("What?"), gpt(), image="a.png"), [A, Text("What?"), RED]),
    (record(human("What?"), gpt(), image=["sub/b.png"]), [B, Text("What?"), RED]),
    (record(human("Hi."), gpt()), [Text("Hi."), RED]),
    (
        record(human("From <image> to <image>?"), gpt(), human("And now?"), gpt("No."), image=["sub/b.png", "a.png"]),
        [Text("From"), B, Text("to"), A, Text("?"), RED, Text("And now?"), Text("No.", need_loss=True)],
    ),
    (
        record(human("<image>"), gpt(), human("<image>"), gpt(), image=["a.png", "sub/b.png"]),
        [A, RED, B, RED],
    ),
    (record(human("<image><image> Which?"), gpt(), image=["a.png", "a.png"]), [A, A, Text("Which?"), RED]),
]


@pytest.mark.parametrize(("made", "parts"), LAYOUTS, ids=range(len(LAYOUTS)))
def test_pictures_stand_where_their_marks_are(folder, made, parts):
    assert read(folder, GOOD, made).conversations == (Conversation("chat.jsonl:2", tuple(parts)),)


def test_the_checksum_covers_the_line_and_the_pictures(folder):
    line = json.dumps(LAYOUTS[5][0]).encode()
    assert read(folder, line).crc == crc(line, b"\n", b"B", b"A")


def test_it_is_a_source(folder):
    write(folder / "more" / "b.jsonl", [GOOD, record(human("Hi."), gpt()), b"", b" "])
    write(folder / "a.jsonl", [b"\xef\xbb\xbf" + json.dumps(GOOD, indent=None).encode() + b"\r"])
    source = llava.open_source(folder)
    assert (source.kind, [(file.path, file.records) for file in source.files]) == (
        "llava v1",
        [("a.jsonl", 1), ("more/b.jsonl", 2)],
    )
    assert [source.key(i) for i in range(3)] == ["a.jsonl:1", "more/b.jsonl:1", "more/b.jsonl:2"]
    check_source(source, folder)
    check_imports(llava.__name__)


def test_pictures_may_lie_elsewhere(folder, tmp_path_factory):
    path = write(tmp_path_factory.mktemp("chat") / "chat.jsonl", [GOOD])
    source = llava.open_source(path.parent, image_folder=folder)
    assert source.read(0).conversations[0].parts[1] == A
    with pytest.raises(UserError, match=f"^record chat.jsonl:1: the picture {path.parent}/a.png is missing"):
        llava.open_source(path.parent).read(0)
    with pytest.raises(UserError, match=f"^{folder}/none: no such folder; give the one that the paths"):
        llava.open_source(path.parent, image_folder=folder / "none")


def test_a_data_set_may_lie_on_a_bucket(folder, tmp_path_factory, monkeypatch):
    cloud = tmp_path_factory.mktemp("cloud") / "cloud"
    url = bucket.install(monkeypatch, cloud)
    missing = record(human("What?"), gpt(), image="none.png")
    write(folder / "chat.jsonl", [GOOD, missing])
    folder.rename(cloud / "bucket" / "set")
    source = llava.open_source(f"{url}/set")
    assert source.read(0).conversations[0].parts[1] == A
    with pytest.raises(UserError, match=f"^record chat.jsonl:2: the picture {url}/set/none.png is missing"):
        source.read(1)


BAD = [
    # record or line, message after the key
    (b"", " is an empty line; remove it"),
    (b"\xff", " is not UTF-8"),
    (b'{"id": "7", "conv', " is not valid JSON"),
    (b'{"image": "a.png", "image": "b.png"}', " is not valid JSON .*'image' appears twice"),
    (b"[]", r" is \[\]; it must be an object"),
    ({"image": "a.png"}, ": conversations is null; it must be a list of turns"),
    (record(image="a.png"), r": conversations is \[\]; it must be a list of turns"),
    (record("What?", image="a.png"), r': conversations\[0\] is "What\?"; it must be an object'),
    (record({"value": "a"}), r": conversations\[0\].from is missing; it must be 'human' or 'gpt'"),
    (record(gpt(), {"from": "system", "value": "a"}), r': conversations\[1\].from is "system"; it must be'),
    (record({"from": ["gpt"], "value": "a"}), r': conversations\[0\].from is \["gpt"\]; it must be'),
    (record({"from": "gpt"}), r": conversations\[0\].value is missing; write it"),
    (record(gpt(None)), r": conversations\[0\].value is null; it must be a string"),
    (record(human(" "), gpt()), r": conversations\[0\].value is empty; write it"),
    (record(human("a"), gpt("")), r": conversations\[1\].value is empty; write it"),
    (record(human("a"), gpt("\ud83d")), r": conversations\[1\].value has half of a surrogate pair"),
    (record(human("a"), gpt("<image>"), image="a.png"), r": conversations\[1\].value is an answer with a mark"),
    (record(human("<image>"), image="a.png"), " has no turn from gpt"),
    (record(human("<image> <image>"), gpt(), image="a.png"), " has 2 marks <image> and 1 pictures; write one mark"),
    (record(human("<image>"), gpt(), image=["a.png", "a.png"]), " has 1 marks <image> and 2 pictures"),
    (record(human("What?"), gpt(), image=["a.png", "a.png"]), " has 0 marks <image> and 2 pictures"),
    (record(human("<image>"), gpt()), " has 1 marks <image> and 0 pictures"),
    (record(human("a"), gpt(), image=None), ": image is null; it must be a string"),
    (record(human("a"), gpt(), image=""), ": image is empty"),
    (record(human("a"), gpt(), image=["a.png", 7]), r": image\[1\] is 7; it must be a string"),
    (record(human("a"), gpt(), image="/a.png"), ': image is "/a.png"; it must be a path inside'),
    (record(human("a"), gpt(), image="sub/../../a.png"), ': image is "sub/../../a.png"; it must be a path inside'),
    (record(human("a"), gpt(), image="https://x/a.png"), ': image is "https://x/a.png"; it must be a path inside'),
    (record(human("a"), gpt(), image="none.png"), ": the picture .*/none.png is missing; fetch it or remove"),
    (record(human("a"), gpt(), image="a.png/b.png"), ": the picture .*/a.png/b.png is missing"),
    (record(human("a"), gpt(), image="sub"), ": the picture .*/sub cannot be read .Is a directory"),
    (record(human("a"), gpt(), image="empty.png"), ": the picture .*/empty.png is empty"),
    (record(human("<video>"), gpt(), video="a.mp4"), " has a video; only pictures can be read"),
]


@pytest.mark.parametrize(("made", "message"), BAD, ids=range(len(BAD)))
def test_a_bad_record_is_named(folder, made, message):
    (folder / "empty.png").touch()
    write(folder / "chat.jsonl", [GOOD, made, GOOD])
    source = llava.open_source(folder)
    assert len(source) == 3
    with pytest.raises(UserError, match=f"^record chat.jsonl:2{message}"):
        source.read(1)
    assert source.read(2)


def test_folders_without_records_are_named(tmp_path):
    with pytest.raises(UserError, match=f"^{tmp_path}/none: no such folder"):
        llava.open_source(tmp_path / "none")
    with pytest.raises(UserError, match=f"^{tmp_path}: no .*jsonl files"):
        llava.open_source(tmp_path)
    (tmp_path / "a.jsonl").write_text("\n\n")
    with pytest.raises(UserError, match=f"^{tmp_path}: its JSONL files have no lines"):
        llava.open_source(tmp_path)


def test_a_picture_whose_folder_is_gone_may_come_back(tmp_path, folder, monkeypatch):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (folder / "a.png").rename(pictures / "a.png")
    write(folder / "chat.jsonl", [GOOD])
    source = llava.open_source(folder, pictures)
    gone = pictures.rename(tmp_path / "gone")
    monkeypatch.setattr(storage, "sleep", lambda seconds: None)
    with pytest.raises(StorageError, match="^record chat.jsonl:1: the picture .*/a.png cannot be read"):
        source.read(0)
    monkeypatch.setattr(storage, "sleep", lambda seconds: seconds == 4 and gone.rename(pictures))
    assert source.read(0).conversations[0].parts[1] == A

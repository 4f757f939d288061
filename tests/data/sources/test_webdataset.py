"""Images with captions from tar files: random access by offsets, and every fault is named."""

import io
import tarfile

import pytest

from irg_jax.core import storage
from irg_jax.core.errors import StorageError, UserError
from irg_jax.data.conversation import Conversation, Image, Text
from irg_jax.data.sources import webdataset
from tests import bucket
from tests.data.sources.checks import check_imports, check_source, crc

GOOD = {"000.jpg": b"jpeg", "000.txt": b"a bench\n"}


def write(path, members, mode="w"):
    """Writes a tar file of pairs or a dict: bytes by name, or a TarInfo that is no file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in members.items() if isinstance(members, dict) else members:
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.name = name
            if content is member:
                archive.addfile(member)
            else:
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def link(kind):
    member = tarfile.TarInfo()
    member.type, member.linkname = kind, "000.jpg"
    return member


@pytest.fixture
def folder(tmp_path):
    write(
        tmp_path / "set" / "00000.tar",
        {
            "000.jpg": b"jpeg", "000.txt": "\ufeffüber a bench\n".encode(), "000.cls": b"3",
            "sub/001.webp": b"webp", "sub/001.json": b'{"caption": "one", "captions": {"b": "two", "a": "three"}}',
            "__info__.json": b"[]", "._000.jpg": b"a file of the desktop",
        },
    )  # fmt: skip
    write(
        tmp_path / "set" / "more" / "00001.tar",
        {
            "x.PNG": b"p" * 3000, "x.txt": b"same", "x.json": b'{"caption": "same", "url": "u"}',
            "y.jpeg": b"j", "y.txt": b"no caption in JSON", "y.json": b'{"width": 3}',
            "z.img.jpg": b"another part", "long" * 60 + ".jpg": b"long", "long" * 60 + ".txt": b"a long name",
        },
    )  # fmt: skip
    write(tmp_path / "set" / "none.tar", {})
    return tmp_path / "set"


def conversations(key, image, *captions):
    return tuple(Conversation(key, (Text(caption), Image(image, need_loss=True))) for caption in captions)


def test_members_of_one_name_become_one_conversation_for_each_caption(folder):
    source = webdataset.open_source(folder)
    found = [source.read(i).conversations for i in range(len(source))]
    assert found == [
        conversations("00000.tar:000", b"jpeg", "über a bench"),
        conversations("00000.tar:sub/001", b"webp", "one", "two", "three"),
        conversations("more/00001.tar:x", b"p" * 3000, "same"),
        conversations("more/00001.tar:y", b"j", "no caption in JSON"),
        conversations("more/00001.tar:" + "long" * 60, b"long", "a long name"),
    ]
    assert source.read(2).crc == crc(b"p" * 3000, b"same", b'{"caption": "same", "url": "u"}')


def test_it_is_a_source(folder):
    source = webdataset.open_source(folder)
    assert (source.kind, [(file.path, file.records) for file in source.files]) == (
        "webdataset v1",
        [("00000.tar", 2), ("more/00001.tar", 3), ("none.tar", 0)],
    )
    check_source(source, folder)
    check_imports(webdataset.__name__)


def test_a_data_set_may_lie_on_a_bucket(folder, tmp_path, monkeypatch):
    url = bucket.install(monkeypatch, tmp_path / "cloud")
    folder.rename(tmp_path / "cloud" / "bucket" / "set")
    source = webdataset.open_source(f"{url}/set")
    assert source.read(2).conversations == conversations("more/00001.tar:x", b"p" * 3000, "same")
    assert source.files[0].size == (tmp_path / "cloud" / "bucket" / "set" / "00000.tar").stat().st_size


BAD = [
    # members of the bad record, message
    ({"1.txt": b"a"}, "has no picture"),
    ({"1.jpg": b"x"}, "has no captions"),
    ({"1.jpg": b"", "1.txt": b"a"}, "its picture is empty"),
    ({"1.jpg": b"x", "1.txt": b" \n"}, ".txt is empty"),
    ({"1.jpg": b"x", "1.txt": b"\xff"}, ".txt is not UTF-8"),
    ({"1.jpg": b"x", "1.json": b"\xff"}, ".json is not UTF-8"),
    ({"1.jpg": b"x", "1.json": b"{"}, ".json is not valid JSON"),
    ({"1.jpg": b"x", "1.json": b"[]"}, r".json is \[\]; it must be an object"),
    ({"1.jpg": b"x", "1.json": b"{}"}, '.json has no "caption" or "captions"'),
    ({"1.jpg": b"x", "1.json": b'{"captions": {}}'}, ".json.captions has no captions"),
    ({"1.jpg": b"x", "1.json": b'{"captions": "a"}'}, '.json.captions is "a"; it must be an object'),
    ({"1.jpg": b"x", "1.json": b'{"caption": null}'}, ".json.caption is null; it must be a string"),
    ({"1.jpg": b"x", "1.txt": b"a", "1.json": b'{"caption": 3}'}, ".json.caption is 3; it must be a string"),
    ({"1.jpg": b"x", "1.json": b'{"caption": "a", "caption": "b"}'}, ".json is not valid JSON .* appears twice"),
]


@pytest.mark.parametrize(("members", "message"), BAD)
def test_a_bad_record_is_named(tmp_path, members, message):
    write(tmp_path / "a.tar", GOOD | members)
    source = webdataset.open_source(tmp_path)
    with pytest.raises(UserError, match=f"^record a.tar:1:? ?{message}"):
        source.read(1)
    assert source.read(0)


BAD_FILES = [
    ([*GOOD.items(), ("000.png", b"x")], "000.png is a second picture of its record"),
    ([*GOOD.items(), ("000.txt", b"x")], "000.txt is a second txt of its record"),
    ([*GOOD.items(), ("1.jpg", link(tarfile.SYMTYPE))], "1.jpg is not stored as a plain file"),
    ([*GOOD.items(), ("1.jpg", link(tarfile.LNKTYPE))], "1.jpg is not stored as a plain file"),
]


@pytest.mark.parametrize(("members", "message"), BAD_FILES)
def test_members_that_are_ambiguous_or_no_files_are_named(tmp_path, members, message):
    path = write(tmp_path / "a.tar", members)
    with pytest.raises(UserError, match=f"^{path}: {message}"):
        webdataset.open_source(tmp_path)


DAMAGE = {
    "cut in a member": (lambda b: b[:700], "cannot be read as an uncompressed tar file"),
    "cut between members": (lambda b: b[:1024], "ends before its end mark"),
    "cut in a header": (lambda b: b[:1200], "ends before its end mark"),
    "a damaged header": (lambda b: b[:1024] + b"\1" + b[1025:], "the header at byte 1024 is damaged"),
    "a damaged first header": (lambda b: b"\1" + b[1:], "cannot be read as an uncompressed tar file"),
    "two files in one": (lambda b: b + b, "goes on behind its end mark"),
    "nothing": (lambda b: b"", "cannot be read as an uncompressed tar file"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_that_is_not_whole_is_named(tmp_path, name):
    damage, message = DAMAGE[name]
    path = write(tmp_path / "a.tar", GOOD)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=f"^{path}: {message}"):
        webdataset.open_source(tmp_path)


def test_compressed_files_are_refused(tmp_path):
    write(tmp_path / "b.tar", GOOD)
    path = write(tmp_path / "a.tar.gz", GOOD, "w:gz")
    with pytest.raises(UserError, match=f"^{path}: is compressed, .*; decompress it"):
        webdataset.open_source(tmp_path)
    path = path.rename(tmp_path / "a.tar")
    with pytest.raises(UserError, match=f"^{path}: cannot be read as an uncompressed tar file"):
        webdataset.open_source(tmp_path)


def test_folders_without_records_are_named(tmp_path):
    with pytest.raises(UserError, match=f"^{tmp_path}/none: no such folder"):
        webdataset.open_source(tmp_path / "none")
    with pytest.raises(UserError, match=f"^{tmp_path}: no .*tar files"):
        webdataset.open_source(tmp_path)
    write(tmp_path / "a.tar", {"1.cls": b"1"})
    with pytest.raises(UserError, match=f"^{tmp_path}: its tar files have no pictures with captions"):
        webdataset.open_source(tmp_path)


def test_a_file_that_shrinks_or_vanishes_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tar", GOOD)
    source = webdataset.open_source(tmp_path)
    path.write_bytes(path.read_bytes()[:514])
    with pytest.raises(UserError, match=f"^{path}: record a.tar:000 ends early, at 2 of 4 bytes"):
        source.read(0)
    path.unlink()
    monkeypatch.setattr(storage, "sleep", lambda seconds: None)
    with pytest.raises(StorageError, match=f"^{path}: record a.tar:000 cannot be read"):
        source.read(0)

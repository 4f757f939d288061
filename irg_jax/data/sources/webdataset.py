"""Text to image: tar files in the form of WebDataset, ``NAME.jpg`` with ``NAME.txt`` or ``NAME.json`` beside it.

A record is the members of one file that have the same name up to the first dot: one picture (jpg, jpeg, png or webp),
and its captions, each of which becomes a conversation: the text of ``NAME.txt``, then those of ``NAME.json``, the text
``caption`` or the texts of the object ``captions``, or both. A caption that is there twice counts once; beside a
``NAME.txt``, a ``NAME.json`` may have no captions. Members with other extensions are not read; names that begin with a
dot, or with two underscores and end so, are no records.
"""

import os
import posixpath
import tarfile
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.core.storage import AnyPath, as_path, is_transient, retry, storage_reason
from irg_jax.data.checksum import checksum
from irg_jax.data.conversation import Record, SourceFile
from irg_jax.data.sources.captions import conversations, named_captions
from irg_jax.data.sources.files import describe, find_files, read_range, walk
from irg_jax.data.sources.records import checked_image, checked_text, parse_json, shown

# Which of a record's three members a member is.
_MEMBERS = {"jpg": 0, "jpeg": 0, "png": 0, "webp": 0, "txt": 1, "json": 2}
_ABSENT = -1
_COMPRESSED = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz")


class Shard(NamedTuple):
    """Where the records of a tar file are. Arrays, since a data set may have millions of records.

    Attributes:
      names: of the records, bytes [n].
      ranges: (offset, size) of picture, txt and json, int64 [n, 3, 2]; the offset is -1 where there is none.
    """

    names: np.ndarray
    ranges: np.ndarray


class WebDatasetSource:
    """Images and captions from tar files: a ``Source``; picklable and thread-safe.

    Args:
      directory: the data set's folder.
      files: the tar files in order.
      shards: where their records are.

    Attributes:
      files: as of any ``Source``.
    """

    kind = "webdataset v1"

    def __init__(self, directory: AnyPath, files: list[SourceFile], shards: list[Shard]):
        self.files = files
        self._directory, self._shards = directory, shards
        self._ends = np.cumsum([len(shard.names) for shard in shards])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def key(self, index: int) -> str:
        """The file and the name of the record in it: ``00000.tar:000000017``."""
        number, row = self._locate(index)
        return f"{self.files[number].path}:{self._shards[number].names[row].decode('utf-8', 'backslashreplace')}"

    def read(self, index: int) -> Record:
        """One conversation for each caption of record ``index``.

        Raises:
          UserError: a file that has changed; no picture or no captions; captions that are not texts or not UTF-8.
          StorageError: the storage went on answering with errors; it names the record.
        """
        number, row = self._locate(index)
        path, key = self._directory / self.files[number].path, self.key(index)
        image, txt, json = (
            None if offset == _ABSENT else read_range(path, offset, size, key)
            for offset, size in self._shards[number].ranges[row].tolist()
        )
        where = f"record {key}"
        if image is None:
            raise UserError(f"{where} has no picture (.jpg, .jpeg, .png or .webp); add it or remove the record")
        captions = [] if txt is None else [checked_text(_decode(txt, f"{where}.txt").strip(), f"{where}.txt")]
        if json is not None:
            captions += _json_captions(_decode(json, f"{where}.json"), f"{where}.json", required=txt is None)
        if not captions:
            raise UserError(f"{where} has no captions (.txt or .json); add them or remove the record")
        content = checked_image(image, f"{where}: its picture")
        pieces = [piece for piece in (image, txt, json) if piece is not None]
        return Record(conversations(key, list(dict.fromkeys(captions)), content), checksum(pieces))

    def __repr__(self) -> str:
        return f"WebDatasetSource({', '.join(file.path for file in self.files)})"

    def _locate(self, index: int) -> tuple[int, int]:
        """The file that a record is in, and its number in it."""
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        number = int(np.searchsorted(self._ends, index, "right"))
        return number, index - int(self._ends[number]) + len(self._shards[number].names)


def open_source(directory: str | os.PathLike[str]) -> WebDatasetSource:
    """Opens a folder, or its URL: all ``*.tar`` files below it, sorted by name. The headers of all members are read.

    Raises:
      UserError: no such folder, no files or records in it, a compressed file, a file that is not a complete tar file,
        or one with two members for one part of a record or with a link as a part.
      StorageError: the storage went on answering with errors.
    """
    folder = as_path(directory)
    compressed = retry(lambda: _compressed(folder), f"{folder}: cannot be read")
    if compressed:
        raise UserError(f"{compressed[0]}: is compressed, so its records cannot be read in any order; decompress it")
    paths = find_files(folder, ".tar")
    shards = [_scan(path) for path in paths]
    if not sum(len(shard.names) for shard in shards):
        raise UserError(f"{folder}: its tar files have no pictures with captions; give NAME.jpg and NAME.txt")
    files = [describe(path, folder, len(shard.names)) for path, shard in zip(paths, shards, strict=True)]
    return WebDatasetSource(folder, files, shards)


def _compressed(folder: AnyPath) -> list[AnyPath]:
    """Files that would be left out without a word, since only ``*.tar`` files are read."""
    return sorted(path for suffix in _COMPRESSED for path in walk(folder, suffix)) if folder.is_dir() else []


def _scan(path: AnyPath) -> Shard:
    """The offset table of a file, from its headers."""

    def read() -> dict[str, list[tuple[int, int]]]:
        records: dict[str, list[tuple[int, int]]] = {}
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member, name, part in _members(archive):
                _check_member(member, path)
                ranges = records.setdefault(name, [(_ABSENT, 0)] * 3)
                if ranges[part][0] != _ABSENT:
                    raise UserError(
                        f"{path}: {member.name} is a second {_kind(part)} of its record; remove one of them"
                    )
                ranges[part] = (member.offset_data, member.size)
            _check_end(archive, path)
        return records

    try:
        records = retry(read, f"{path}: cannot be read", retry_if=is_transient)
    except tarfile.TarError as error:
        raise UserError(f"{path}: cannot be read as an uncompressed tar file ({error}); fetch it again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({storage_reason(error)}); fetch it again") from error
    names = np.array([name.encode("utf-8", "surrogateescape") for name in records], np.bytes_)
    return Shard(names, np.array(list(records.values()), np.int64).reshape(-1, 3, 2))


def _members(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, str, int]]:
    """The members that records are made of, with the name of the record and which of its parts they are."""
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]  # where every header would be kept
        folder, base = posixpath.split(member.name)
        name, _, extension = base.partition(".")
        if name and not (name.startswith("__") and name.endswith("__")) and extension.lower() in _MEMBERS:
            yield member, posixpath.join(folder, name), _MEMBERS[extension.lower()]


def _check_member(member: tarfile.TarInfo, path: AnyPath) -> None:
    if not member.isreg() or member.sparse is not None:
        raise UserError(f"{path}: {member.name} is not stored as a plain file; pack it again without links")


def _check_end(archive: tarfile.TarFile, path: AnyPath) -> None:
    """Raises UserError unless the reader stopped at the end: it also stops, without a word, at a damaged header."""
    file = archive.fileobj
    assert file is not None
    file.seek(archive.offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        raise UserError(f"{path}: ends before its end mark; it is not complete: fetch it again")
    if any(block):
        raise UserError(f"{path}: the header at byte {archive.offset} is damaged; fetch it again")
    while chunk := file.read(1 << 20):
        if any(chunk):
            raise UserError(
                f"{path}: goes on behind its end mark; if these are several tar files, give them one by one"
            )


def _kind(part: int) -> str:
    return ("picture", "txt", "json")[part]


def _decode(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not UTF-8 ({error}); repair or remove the record") from error


def _json_captions(text: str, where: str, required: bool) -> list[str]:
    value = parse_json(text, where)
    if not isinstance(value, dict):
        raise UserError(f'{where} is {shown(value)}; it must be an object with "caption" or "captions"')
    captions = [checked_text(value["caption"], f"{where}.caption")] if "caption" in value else []
    if "captions" in value:
        captions += named_captions(value["captions"], f"{where}.captions")
    if not captions and required:
        raise UserError(f'{where} has no "caption" or "captions"; add one or remove the record')
    return captions

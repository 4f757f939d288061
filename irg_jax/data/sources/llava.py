r"""Understanding: JSONL files in the form of LLaVA, questions and answers about pictures.

A line is a record::

    {"id": "7", "image": "park/7.jpg", "conversations": [
      {"from": "human", "value": "<image>\nWhat colour is the bench?"},
      {"from": "gpt", "value": "Red."}]}

``image`` is a path, or a list of paths, relative to the folder of pictures; without it a record is text alone. A
human's turn is a condition: each mark ``<image>`` in it stands for the next picture (ViT), and the text around marks,
without the white space at its ends, becomes parts of its own. There are as many marks as pictures, or none for one
picture, which then comes first. What ``gpt`` says is learned. Other keys are not read, but one for videos is an error.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.core.storage import AnyPath, as_path, is_transient_or_gone, is_url, retry, storage_reason
from irg_jax.data.checksum import checksum
from irg_jax.data.conversation import Conversation, Image, Record, SourceFile, Text
from irg_jax.data.sources.files import describe, find_files, read_range
from irg_jax.data.sources.records import checked_image, checked_text, parse_json, shown

_MARK = "<image>"
_ROLES = ("human", "gpt")


class LlavaSource:
    """Questions and answers about pictures: a ``Source``; picklable and thread-safe.

    Args:
      directory: the data set's folder.
      image_folder: what the paths of pictures are relative to.
      files: the JSONL files in order.
      lines: where the lines of each file start, and where the last one ends, int64 [records + 1].

    Attributes:
      files: as of any ``Source``; the pictures are not among them, but the checksums of records cover them.
    """

    kind = "llava v1"

    def __init__(self, directory: AnyPath, image_folder: AnyPath, files: list[SourceFile], lines: list[np.ndarray]):
        self.files = files
        self._directory, self._image_folder, self._lines = directory, image_folder, lines
        self._ends = np.cumsum([file.records for file in files])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def key(self, index: int) -> str:
        """The file and the number of the line in it, from 1, as editors count: ``chat.jsonl:17``."""
        number, row = self._locate(index)
        return f"{self.files[number].path}:{row + 1}"

    def read(self, index: int) -> Record:
        """The one conversation of record ``index``.

        Raises:
          UserError: a file that has changed; a line that is not in LLaVA's form; a picture that is missing.
          StorageError: the storage went on answering with errors; it names the record.
        """
        (number, row), key = self._locate(index), self.key(index)
        start, end = self._lines[number][row : row + 2].tolist()
        line = read_range(self._directory / self.files[number].path, start, end - start, key)
        try:
            text = line.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"record {key} is not UTF-8 ({error}); repair or remove the line") from error
        if not text.strip():
            raise UserError(f"record {key} is an empty line; remove it")
        paths, turns = _fields(parse_json(text, f"record {key}"), f"record {key}")
        images = [self._image(path, key) for path in paths]
        return Record((Conversation(key, _parts(turns, images, f"record {key}")),), checksum([line, *images]))

    def __repr__(self) -> str:
        return f"LlavaSource({', '.join(file.path for file in self.files)})"

    def _locate(self, index: int) -> tuple[int, int]:
        """The file that a record is in, and its number in it."""
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        number = int(np.searchsorted(self._ends, index, "right"))
        return number, index - int(self._ends[number]) + self.files[number].records

    def _image(self, name: str, key: str) -> bytes:
        path, where = self._image_folder / name, f"record {key}: the picture {self._image_folder / name}"

        def read() -> bytes:
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                # The picture is missing; unless the whole folder is, whose mount may come back.
                if is_url(path) or self._image_folder.is_dir():
                    raise UserError(f"{where} is missing; fetch it or remove the record") from None
                raise

        try:
            return checked_image(retry(read, f"{where} cannot be read", retry_if=is_transient_or_gone), where)
        except OSError as error:
            raise UserError(f"{where} cannot be read ({storage_reason(error)}); repair or remove the record") from error


def open_source(directory: str | os.PathLike[str], image_folder: str | os.PathLike[str] | None = None) -> LlavaSource:
    """Opens a folder, or its URL: all ``*.jsonl`` files below it, sorted by name. They are read once, for the lines.

    Args:
      directory: the data set's folder.
      image_folder: what the paths of pictures are relative to; the data set's folder if not given.

    Raises:
      UserError: no such folder, no files or lines in it, or a file that cannot be read.
      StorageError: the storage went on answering with errors.
    """
    folder = as_path(directory)
    pictures = folder if image_folder is None else as_path(image_folder)
    if not retry(pictures.is_dir, f"{pictures}: cannot be read"):
        raise UserError(f"{pictures}: no such folder; give the one that the paths of pictures are relative to")
    paths = find_files(folder, ".jsonl")
    lines = [_scan(path) for path in paths]
    if not sum(len(starts) - 1 for starts in lines):
        raise UserError(f"{folder}: its JSONL files have no lines; fetch or write them again")
    files = [describe(path, folder, len(starts) - 1) for path, starts in zip(paths, lines, strict=True)]
    return LlavaSource(folder, pictures, files, lines)


def _scan(path: AnyPath) -> np.ndarray:
    """Where the lines of a file start, and where the last one ends; empty lines at its end are none."""

    def read() -> list[int]:
        starts, filled = [0], 0
        with path.open("rb") as file:
            for line in file:
                starts.append(starts[-1] + len(line))
                filled = len(starts) if line.strip() else filled
        return starts[:filled] or [0]

    try:
        return np.array(retry(read, f"{path}: cannot be read"), np.int64)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({storage_reason(error)}); fetch it again") from error


def _fields(record: Any, where: str) -> tuple[list[str], list[Any]]:
    """The paths of the pictures and the turns of a record."""
    if not isinstance(record, dict):
        raise UserError(f"{where} is {shown(record)}; it must be an object with 'conversations'")
    if "video" in record:
        raise UserError(f"{where} has a video; only pictures can be read: remove the record")
    turns, found = record.get("conversations"), record.get("image", [])
    if not isinstance(turns, list) or not turns:
        raise UserError(f"{where}: conversations is {shown(turns)}; it must be a list of turns that is not empty")
    paths = found if isinstance(found, list) else [found]
    for i, path in enumerate(paths):
        place = f"{where}: image[{i}]" if isinstance(found, list) else f"{where}: image"
        checked_text(path, place)
        if is_url(path) or path.startswith("/") or ".." in path.split("/") or "\0" in path:
            raise UserError(f"{place} is {shown(path)}; it must be a path inside the folder of pictures")
    return paths, turns


def _parts(turns: Sequence[Any], images: Sequence[bytes], where: str) -> tuple[Text | Image, ...]:
    parts: list[Text | Image] = []
    left = iter([Image(image, need_vit=True) for image in images])
    marks = 0
    for i, turn in enumerate(turns):
        place = f"{where}: conversations[{i}]"
        role, value = _turn(turn, place)
        count = value.count(_MARK)
        if role == "human":
            parts += _pieces(value, left)
            marks += count
        elif count:
            raise UserError(f"{place}.value is an answer with a mark {_MARK}; marks belong to the turns of human")
        else:
            parts.append(Text(value, need_loss=True))
    if not any(turn["from"] == "gpt" for turn in turns):
        raise UserError(
            f"{where} has no turn from gpt, so nothing can be learned from it; add one or remove the record"
        )
    if marks == 0 and len(images) == 1:
        return next(left), *parts
    if marks != len(images):
        raise UserError(
            f"{where} has {marks} marks {_MARK} and {len(images)} pictures; write one mark for each picture"
        )
    return tuple(parts)


def _pieces(value: str, left: Iterator[Image]) -> Iterator[Text | Image]:
    """The texts between marks, and the pictures that are left at the marks, as long as there are any."""
    for i, text in enumerate(value.split(_MARK)):
        image = next(left, None) if i else None
        if image is not None:
            yield image
        if text.strip():
            yield Text(text.strip())


def _turn(turn: Any, where: str) -> tuple[str, str]:
    if not isinstance(turn, dict):
        raise UserError(f"{where} is {shown(turn)}; it must be an object with 'from' and 'value'")
    role = turn.get("from")
    if role not in _ROLES:
        found = f"is {shown(role)}" if "from" in turn else "is missing"
        raise UserError(f"{where}.from {found}; it must be 'human' or 'gpt'")
    if "value" not in turn:
        raise UserError(f"{where}.value is missing; write it")
    return role, checked_text(turn["value"], f"{where}.value")

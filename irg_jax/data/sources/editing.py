"""Editing: parquet files with the pictures of an edited image and the wordings of the step between each two.

A row has ``image_list``, n encoded pictures, and ``instruction_list``, n - 1 lists of wordings::

    image_list: [b"…", b"…", b"…"]    instruction_list: [["make it red", "paint it red"], ["add a cat"]]

A conversation is about a span of two or three neighbouring pictures. The first is a condition (VAE and ViT); a wording
of each step leads to the next picture, which is learned and, unless it is the last, also a condition of what follows.
The two steps of a span of three may be joined: one text leads to the last picture, and the middle one is left out.
Other columns are not read.

A row has more conversations than can be listed, so ``read`` gives a list of at most 16 that represents them: a uniform
draw from it draws every start of a span and every length that is possible there equally often, every wording equally
often, and joins half of the spans of three. Where the list is too short for that, these shares are rounded up for some
conversations and down for others; which ones depends on the row's contents, so that they hold on average over rows.
"""

import os
from collections.abc import Sequence
from fractions import Fraction
from math import lcm
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.core.storage import as_path
from irg_jax.data.checksum import checksum
from irg_jax.data.conversation import Conversation, Image, Record, Text
from irg_jax.data.sources.files import find_files
from irg_jax.data.sources.parquet import SMALLER_GROUPS, Column, TableSource, is_bytes, is_list, is_text, open_table
from irg_jax.data.sources.records import checked_image, checked_text

MAX_CONVERSATIONS = 16

_COLUMNS = [
    Column("image_list", lambda kind: is_list(kind, is_bytes), "lists of encoded bytes"),
    Column("instruction_list", lambda kind: is_list(kind, lambda k: is_list(k, is_text)), "lists of lists of strings"),
]
_SENTENCE_ENDS = (".", "!", "?", "。", "！", "？")


class EditingSource(TableSource):
    """Edited pictures from parquet files: a ``Source``."""

    kind = "editing v1"

    def read(self, index: int) -> Record:
        """The conversations that represent row ``index``; the same ones may be in the list more than once.

        Raises:
          UserError: a file that has changed or is damaged; fewer than two pictures, a picture that is null or empty;
            another number of lists of wordings than steps, or a list without wordings or with an empty one.
          StorageError: the storage went on answering with errors; it names the row.
        """
        row, key = self._table.row(index), self.key(index)
        images = _images(row["image_list"], f"record {key}: image_list")
        wordings = _wordings(row["instruction_list"], len(images) - 1, f"record {key}: instruction_list")
        crc = checksum([*images, *(wording.encode() for step in wordings for wording in step)])
        return Record(tuple(Conversation(key, parts) for parts in _represent(images, wordings, crc)), crc)


def open_source(directory: str | os.PathLike[str]) -> EditingSource:
    """Opens a folder, or its URL: all ``*.parquet`` files below it, sorted by name. Only their footers are read here.

    Raises:
      UserError: no such folder, no files or rows in it, a file that cannot be read or lacks a column, or one whose row
        groups are too large to be read for each row.
      StorageError: the storage went on answering with errors.
    """
    folder = as_path(directory)
    return EditingSource(open_table(folder, find_files(folder, ".parquet"), _COLUMNS, SMALLER_GROUPS))


def _images(value: Any, where: str) -> list[bytes]:
    if value is None or len(value) < 2:
        found = "is null" if value is None else f"has {len(value)}"
        raise UserError(f"{where} {found}; it must have two pictures or more, or remove the record")
    return [checked_image(image, f"{where}[{i}]") for i, image in enumerate(value)]


def _wordings(value: Any, steps: int, where: str) -> list[list[str]]:
    if value is None or len(value) != steps:
        found = "is null" if value is None else f"has {len(value)}"
        raise UserError(f"{where} {found}; {steps + 1} pictures need {steps} lists of wordings, one for each step")
    for i, step in enumerate(value):
        if not step:
            raise UserError(f"{where}[{i}] {'is null' if step is None else 'has no wordings'}; write at least one")
        for j, wording in enumerate(step):
            checked_text(wording, f"{where}[{i}][{j}]")
    return value


def _represent(images: Sequence[bytes], wordings: Sequence[Sequence[str]], crc: int) -> list[tuple[Text | Image, ...]]:
    """Equally spaced points of [0, 1), shifted by the contents; each stands for one conversation (``_at``)."""
    count = _count([len(step) for step in wordings])
    shift = Fraction(crc, 1 << 32)
    return [_at((i + shift) / count, images, wordings) for i in range(count)]


def _count(wordings: Sequence[int]) -> int:
    """The length of the list: exact in as much as possible, first in the starts, then in the forms, then in wordings.

    Args:
      wordings: number of wordings of each step.
    """
    steps = len(wordings)
    forms = steps if steps == 1 else 4 * steps  # half of a start's share is one step, a quarter is joined
    pairs = [4 * one * other for one, other in zip(wordings[:-1], wordings[1:], strict=True)]
    everything = lcm(forms, *(steps * count for count in [wordings[-1], *pairs]))
    exact = next((n for n in (everything, forms, steps) if n <= MAX_CONVERSATIONS), MAX_CONVERSATIONS)
    return exact if exact == everything else MAX_CONVERSATIONS // exact * exact


def _at(point: Fraction, images: Sequence[bytes], wordings: Sequence[Sequence[str]]) -> tuple[Text | Image, ...]:
    """The conversation at a point: [0, 1) is divided among the starts, their parts among forms, those among wordings.

    So the length of a conversation's part is its probability.
    """
    start, point = _choose(point, len(wordings))
    first = Image(images[start], need_vae=True, need_vit=True)
    one_step = start == len(wordings) - 1  # no span of three begins here
    if not one_step:
        length, point = _choose(point, 2)
        one_step = length == 0
    if one_step:
        chosen, _ = _choose(point, len(wordings[start]))
        return first, Text(wordings[start][chosen]), Image(images[start + 1], need_loss=True)
    joined, point = _choose(point, 2)
    one, point = _choose(point, len(wordings[start]))
    other, _ = _choose(point, len(wordings[start + 1]))
    texts, last = (wordings[start][one], wordings[start + 1][other]), Image(images[start + 2], need_loss=True)
    if joined:
        return first, Text(_join(*texts)), last
    middle = Image(images[start + 1], need_loss=True, need_vae=True, need_vit=True)
    return first, Text(texts[0]), middle, Text(texts[1]), last


def _choose(point: Fraction, count: int) -> tuple[int, Fraction]:
    """Which of ``count`` equal parts of [0, 1) a point is in, and where in that part, again in [0, 1)."""
    chosen = int(point * count)
    return chosen, point * count - chosen


def _join(first: str, second: str) -> str:
    first = first.rstrip()
    return f"{first}{'' if first.endswith(_SENTENCE_ENDS) else '.'} {second}"

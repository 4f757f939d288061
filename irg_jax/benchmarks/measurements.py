"""Prompts to values by a model that runs here, in a file that it goes on in after an interruption.

The file has JSON lines. The first one says what measured, each other line is a prompt, with a digest of what was
measured::

    {"format": "irg_jax measurements 1", "protocol": "DreamSim (ensemble) …"}
    {"key": "anime/000", "digest": "9f86d081…", "value": [0.31, 0.28, 0.4, 0.33, 0.29, 0.35]}
"""

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from irg_jax.benchmarks.files import cut_half_line, read_json, read_json_lines
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import write_text

FORMAT = "irg_jax measurements 1"
SUFFIX = ".jsonl"  # of the file beside the ``.json`` with the values alone

Value = float | list[float]


class Owed(NamedTuple):
    """A prompt whose images are to be measured.

    Attributes:
      key: of the item.
      prompt: its text.
      images: each gives an encoded image.
    """

    key: str
    prompt: str
    images: tuple[Callable[[], bytes], ...]


class Measured(NamedTuple):
    """A prompt and its images, encoded, as a model gets them."""

    key: str
    prompt: str
    images: tuple[bytes, ...]


class Model(NamedTuple):
    """A model and what a report has to say about it.

    Attributes:
      protocol: package and weights.
      run: gives a value for each of some prompts.
    """

    protocol: str
    run: Callable[[Sequence[Measured]], Sequence[Value]]


def measure(
    owed: Sequence[Owed], path: Path, load: Callable[[], AbstractContextManager[Model]], *, batch_size: int
) -> tuple[dict[str, Value], int]:
    """Measures the prompts that are not in the file yet, and adds them to it.

    Args:
      owed: the prompts.
      path: of the JSON lines; after an interruption it goes on where it was.
      load: opens the model; not called where the file has every prompt.
      batch_size: prompts that are measured together, and lost together where it is interrupted.

    Returns:
      the value of each prompt by key, and how many were measured now.

    Raises:
      UserError: the file is of another model or of other images or prompts, or is damaged otherwise than by a cut last
        line; the model gives something that is no number.
    """
    protocol, done = _resume(path)
    for one in owed:
        if one.key in done and done[one.key][0] != _digest(_read(one)):
            raise UserError(
                f"{path}: {one.key} was measured with another image or prompt; give another file, or delete this one "
                "if its images were made again"
            )
    missing = [one for one in owed if one.key not in done]
    if missing:
        with load() as model:
            if protocol and protocol != model.protocol:
                raise UserError(f"{path}: was written by {protocol!r}; give another file for {model.protocol!r}")
            if not protocol:
                write_text(path, json.dumps({"format": FORMAT, "protocol": model.protocol}) + "\n")
            with path.open("a", encoding="utf-8") as file:
                for batch in _batches(missing, batch_size):
                    inputs = [_read(one) for one in batch]
                    for given, value in zip(inputs, model.run(inputs), strict=True):
                        _check(given.key, value)
                        done[given.key] = _digest(given), value
                        file.write(json.dumps({"key": given.key, "digest": _digest(given), "value": value}) + "\n")
                    file.flush()
    return {one.key: done[one.key][1] for one in owed}, len(missing)


def made_by(table: Path) -> str:
    """`` by PROTOCOL`` for a file of values whose JSON lines are beside it and have these values, else nothing.

    Args:
      table: a file that could be read; ``.json`` for any that was written here.
    """
    beside = table.with_suffix(SUFFIX)
    if table.suffix != ".json" or not beside.exists():
        return ""
    try:
        values, (protocol, done) = read_json(table), _parse(beside)
    except UserError:  # the JSON lines are another program's
        return ""
    same = done and all(values.get(key) == value for key, (_, value) in done.items())
    return f" by {protocol}" if same else ""


def _read(one: Owed) -> Measured:
    return Measured(one.key, one.prompt, tuple(read() for read in one.images))


def _digest(one: Measured) -> str:
    """SHA-256 over the prompt and each image."""
    parts = [one.prompt.encode("utf-8"), *one.images]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def _batches(owed: Sequence[Owed], size: int) -> Iterator[list[Owed]]:
    rest = iter(owed)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def _check(key: str, value: Any) -> None:
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(number, float) and math.isfinite(number) for number in numbers):
        raise UserError(f"{key}: the model gives {value!r:.80}, which is no number; check --device and the weights")


def _resume(path: Path) -> tuple[str, dict[str, tuple[str, Value]]]:
    """The protocol, empty for no file, and (digest, value) by key; a last line without an end is cut off."""
    if not path.exists():
        return "", {}
    cut_half_line(path)
    return _parse(path)


def _parse(path: Path) -> tuple[str, dict[str, tuple[str, Value]]]:
    lines = read_json_lines(path)
    if not lines:
        return "", {}
    head = lines[0][1]
    if head.get("format") != FORMAT or not isinstance(head.get("protocol"), str):
        raise UserError(f"{path}: does not begin with a line of {FORMAT!r}; give another file")
    done: dict[str, tuple[str, Value]] = {}
    for where, entry in lines[1:]:
        key, digest = entry.get("key"), entry.get("digest")
        if not isinstance(key, str) or not isinstance(digest, str) or "value" not in entry:
            raise UserError(f"{where}: has no key, digest or value; delete the line, and it is measured again")
        if key in done:
            raise UserError(f"{where}: {key} is there already; delete one of the lines")
        done[key] = digest, entry["value"]
        try:
            _check(key, entry["value"])
        except UserError:
            raise UserError(f"{where}: value is no number; delete the line, and it is measured again") from None
    return head["protocol"], done

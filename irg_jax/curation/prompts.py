"""The input: prompts, one per line, or records of which some steps are given already."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from irg_jax.core.config.schema import did_you_mean
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import read_given_text
from irg_jax.core.text import check_text

_TEXTS = ("key", "prompt", "thinking1", "image1", "thinking2", "image2", "source", "licence")
_TABLES = ("teachers", "templates")


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of the input.

    Attributes:
      key: identifies the record; from the content where it is not given.
      where: ``FILE:LINE``, for messages.
      prompt: what a user would ask for.
      thinking1: where it is given, else empty; likewise ``thinking2``.
      image1: the path of a given picture, else None; likewise ``image2``.
      source: of the prompt or of the pictures; empty where nothing is said.
      licence: of them.
      teachers: which model made a given step, by step.
      templates: and the digest of its template.
    """

    key: str
    where: str
    prompt: str
    thinking1: str = ""
    image1: Path | None = None
    thinking2: str = ""
    image2: Path | None = None
    source: str = ""
    licence: str = ""
    teachers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    templates: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def has(self, step: str) -> bool:
        """Whether the input gives this step."""
        return bool(getattr(self, step))


def read_entries(path: str | os.PathLike[str]) -> tuple[list[Entry], list[tuple[Entry, Entry]]]:
    """Reads a text file with one prompt per line, or a ``.jsonl`` with a record per line.

    Args:
      path: of the file; paths of pictures in it are relative to its folder.

    Returns:
      the entries, and the pairs (repetition, first one) of lines that say the same.

    Raises:
      UserError: it cannot be read or has no line; a line is not a record, has an unknown key or names a file that is
        not there; two lines with one key.
    """
    file = Path(path)
    is_jsonl = file.suffix == ".jsonl"
    entries: dict[str, Entry] = {}
    repeated: list[tuple[Entry, Entry]] = []
    for number, line in enumerate(read_given_text(file, "prompts").split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        values = _parse(line, where) if is_jsonl else {"prompt": line.strip()}
        entry = _entry(values, where, file.parent)
        first = entries.setdefault(entry.key, entry)
        if first is not entry and "key" in values:
            raise UserError(f"{where}: the key {entry.key!r:.80} is that of {first.where}; give each record its own")
        if first is not entry:
            repeated.append((entry, first))
    if not entries:
        raise UserError(f"--prompts {file}: contains no prompt; write one per line, or records as .jsonl")
    return list(entries.values()), repeated


def check_inputs(entries: Sequence[Entry], steps: Sequence[str], needs: Mapping[str, Sequence[str]]) -> None:
    """Checks that every step that is to be made has what it reads.

    Args:
      entries: of the input.
      steps: that are made.
      needs: which other steps each step reads.

    Raises:
      UserError: a record neither gives nor gets what a step of it reads.
    """
    for entry in entries:
        for step in (step for step in steps if not entry.has(step)):
            for needed in needs[step]:
                if not entry.has(needed) and needed not in steps:
                    raise UserError(
                        f"{entry.where}: {step} needs {needed}: give it in the record, or add it to config.steps"
                    )


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error}); write one object per line") from error
    if not isinstance(values, dict):
        raise UserError(f'{where}: {line!r:.60} is not a JSON object; write {{"prompt": …}}')
    known = (*_TEXTS, *_TABLES)
    for name in values:
        if name not in known:
            raise UserError(
                f"{where}: unknown key {name!r:.60}{did_you_mean(name, known)}; allowed: {', '.join(known)}"
            )
    return values


def _entry(values: dict[str, Any], where: str, folder: Path) -> Entry:
    texts = {name: check_text(values[name], f"{where}: {name}") for name in _TEXTS if values.get(name) is not None}
    if not texts.get("prompt", "").strip():
        raise UserError(f"{where}: has no prompt; give one")
    key = texts.setdefault("key", _content_key(texts))
    tables = {name: _table(values.get(name), f"{where}: {name}") for name in _TABLES}
    pictures = {
        name: _picture(folder, texts.pop(name), f"{where}: {name}") for name in ("image1", "image2") if texts.get(name)
    }
    rest = {name: text for name, text in texts.items() if name not in ("key", "image1", "image2")}
    return Entry(key=key, where=where, **rest, **pictures, **tables)  # type: ignore[arg-type]


def _content_key(texts: Mapping[str, str]) -> str:
    given = {name: text for name, text in sorted(texts.items()) if name not in ("source", "licence")}
    return hashlib.sha256(json.dumps(given).encode()).hexdigest()[:16]


def _table(values: Any, where: str) -> dict[str, str]:
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{where} is {values!r:.60}, not an object; write {{step: name}}")
    return {check_text(name, where): check_text(text, f"{where}.{name}") for name, text in values.items()}


def _picture(folder: Path, name: str, where: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise UserError(f"{where}: there is no file {path}; paths are relative to the file that names them")
    return path

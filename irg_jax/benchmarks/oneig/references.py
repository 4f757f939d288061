"""What OneIG-Bench's metrics compare with: questions, texts, styles and answers, each in its official file.

They are looked for beside the prompt file, and where OneIG-Bench/OneIG-Benchmark@41b4983 has them below ``scripts``.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from irg_jax.benchmarks.benchmark import PromptSet
from irg_jax.benchmarks.files import read_json
from irg_jax.benchmarks.oneig.prompts import read_table
from irg_jax.core.errors import UserError

ALIGNED = ("anime", "human", "object")


class Check(NamedTuple):
    """A question about an image.

    Attributes:
      id: its number in the file, from 1.
      text: such as ``Is there a dog?``.
      parents: ids of the questions that it depends on; it may come before them.
    """

    id: int
    text: str
    parents: tuple[int, ...]


def find_file(folder: Path, name: str) -> Path:
    """``Q_D``, ``text_content.csv``, ``style.csv`` or ``gt_answer.json``, beside the prompts or below ``scripts``.

    Raises:
      UserError: it is in neither place.
    """
    places = {"Q_D": "alignment", "text_content.csv": "text", "style.csv": "style", "gt_answer.json": "reasoning"}
    candidates = [folder / name, folder / "scripts" / places[name] / name]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise UserError(f"{candidates[0]}: no such file, nor {candidates[1]}; take it from OneIG-Bench/OneIG-Benchmark")


def read_checks(folder: Path) -> dict[str, tuple[Check, ...]]:
    """The questions of each prompt, by key, from ``Q_D/anime.json`` and the other two, in the order of the files.

    Raises:
      UserError: a file cannot be read or is not as the official ones: ids from 1 without a gap, and parents among them.
    """
    found: dict[str, tuple[Check, ...]] = {}
    for category in ALIGNED:
        path = folder / f"{category}.json"
        for number, entry in _read_object(path).items():
            found[f"{category}/{number}"] = checks(entry, f"{path}: {number}")
    return found


def checks(entry: Any, where: str) -> tuple[Check, ...]:
    """The questions of one entry, whose ``question`` and ``dependency`` are objects or JSON in a text.

    Raises:
      UserError: it is not so, at ``where``.
    """
    texts, parents = (_object_in(entry, name, where) for name in ("question", "dependency"))
    if not texts or set(texts) != {str(number) for number in range(1, len(texts) + 1)} or set(parents) - set(texts):
        raise UserError(
            f"{where}: the questions must be numbered from 1 without a gap, and the dependencies as they are"
        )
    found = []
    for number, text in texts.items():
        ids = parents.get(number, [0])
        is_list = isinstance(ids, list) and all(isinstance(one, int) and 0 <= one <= len(texts) for one in ids)
        if not is_list or not isinstance(text, str):
            raise UserError(
                f"{where}: question {number} is {text!r:.60} with parents {ids!r:.60}; write numbers of questions"
            )
        found.append(Check(int(number), text, tuple(one for one in ids if one)))
    return tuple(found)


def read_texts(path: Path) -> dict[str, str]:
    """What should be written in each image, by key: the column ``text_content`` as it is, a Python list as text.

    Raises:
      UserError: the file cannot be read, or a text is empty.
    """
    texts = {f"text/{row['id']}": row["text_content"] for row in read_table(path, ("id", "text_content"))}
    for key, text in texts.items():
        if not text.strip():
            raise UserError(f"{path}: {key} has no text_content; give the file of OneIG-Bench as it is")
    return texts


def read_styles(path: Path) -> dict[str, str]:
    """The style of each prompt that has one, by key, as the official references name it: ``pixel_art``.

    Raises:
      UserError: the file cannot be read.
    """
    rows = read_table(path, ("id", "class"))
    return {f"anime/{row['id']}": style_name(row["class"]) for row in rows if row["class"].strip()}


def style_name(text: str) -> str:
    """``Pixel art`` to ``pixel_art``."""
    return text.lower().replace(" ", "_")


def read_answers(path: Path) -> dict[str, str]:
    """The reference answer of each prompt of reasoning, by key.

    Raises:
      UserError: the file cannot be read, or an answer is no text.
    """
    answers = {f"reasoning/{number}": answer for number, answer in _read_object(path).items()}
    for key, answer in answers.items():
        if not isinstance(answer, str) or not answer.strip():
            raise UserError(f"{path}: {key} is {answer!r:.60}; give the file of OneIG-Bench as it is")
    return answers


def check_complete(prompts: PromptSet, categories: Iterable[str], given: Mapping[str, Any], where: str) -> None:
    """Checks that each item of some categories has its reference.

    Raises:
      UserError: some do not; it names them.
    """
    wanted = set(categories)
    lacking = [item.key for item in prompts.items if item.category in wanted and item.key not in given]
    if lacking:
        more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
        raise UserError(f"{where}: has nothing for {', '.join(lacking[:5])}{more}; give the file of these prompts")


def _read_object(path: Path) -> dict[str, Any]:
    values = read_json(path)
    if not isinstance(values, dict):
        raise UserError(f"{path}: is not a JSON object; give the file of OneIG-Bench as it is")
    return values


def _object_in(entry: Any, name: str, where: str) -> dict[str, Any]:
    value = entry.get(name) if isinstance(entry, dict) else None
    try:
        value = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise UserError(f"{where}: {name} is not JSON ({error}); give the file of OneIG-Bench as it is") from error
    if not isinstance(value, dict):
        raise UserError(f"{where}: {name} is {value!r:.60}, not an object; give the file of OneIG-Bench as it is")
    return value

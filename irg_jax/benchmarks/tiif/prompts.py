"""The prompts of TIIF-Bench and their questions: a folder ``…_prompts`` and, beside it, one ``…_eval_prompts``.

Each attribute has a file of JSON lines in both, ``ATTRIBUTE_prompts.jsonl`` and ``ATTRIBUTE_eval_prompts.jsonl``; line
i of the second has the questions about line i of the first (A113N-W3I/TIIF-Bench@3aae750).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from irg_jax.benchmarks.benchmark import Item, PromptSet
from irg_jax.benchmarks.files import digest_of_files, read_json_lines, text_of
from irg_jax.benchmarks.tiif.attributes import ATTRIBUTES, LENGTHS, SIZES
from irg_jax.core.errors import UserError

NAME = "tiif"
CUSTOM = "custom"

_PROMPTS, _EVAL_PROMPTS = "_prompts", "_eval_prompts"


def read_prompts(path: Path) -> PromptSet:
    """Reads ``testmini_prompts``, ``test_prompts`` or another folder of the same form, with its questions.

    The version, ``test`` or ``testmini``, is known by the number of lines of each attribute; any other folder is
    ``custom``, with the ``official_items`` of the nearest one. Keys are ``ATTRIBUTE/LENGTH/LINE``, such as
    ``color+2d/short/3``, with lines counted from 0 without blank ones; categories are ``LENGTH/ATTRIBUTE``. An entry
    has the fields of both files.

    Raises:
      UserError: no such folder, or none with questions; files that do not belong together, differ in their number of
        lines or in the type of a line; an entry without a description or without an answer to each question.
    """
    questions_folder = _questions_folder(path)
    files = sorted(path.glob("*.jsonl"))
    if not files:
        raise UserError(f"--prompts {path}: has no .jsonl; give the folder testmini_prompts or test_prompts")
    entries: dict[str, list[dict[str, Any]]] = {}
    read: list[Path] = []
    for file in files:
        questions_file = questions_folder / f"{file.stem.removesuffix(_PROMPTS)}{_EVAL_PROMPTS}.jsonl"
        attribute, of_file = _entries(file, questions_file)
        if attribute in entries:
            raise UserError(f"{file}: has type {attribute!r}, as another file; keep one of them")
        entries[attribute] = of_file
        read += [file, questions_file]
    if extra := sorted({file.name for file in questions_folder.glob("*.jsonl")} - {file.name for file in read}):
        raise UserError(f"{questions_folder / extra[0]}: has no prompts in {path}; copy both folders of one version")
    sizes = {attribute: len(of_file) for attribute, of_file in entries.items()}
    version = next((name for name, official in SIZES.items() if official == sizes), CUSTOM)
    items = [
        Item(f"{attribute}/{length}/{line}", entry[f"{length}_description"], f"{length}/{attribute}", 1, entry)
        for attribute, of_file in entries.items()
        for length in LENGTHS
        for line, entry in enumerate(of_file)
    ]
    return PromptSet(NAME, version, tuple(items), digest_of_files(read), _official_items(sum(sizes.values())))


def answers_of(item: Item) -> list[str]:
    """The right answers, ``yes`` or ``no``, one for each question."""
    return [answer.strip().lower() for answer in item.entry["yn_answer_list"]]


def _questions_folder(path: Path) -> Path:
    if not path.is_dir():
        raise UserError(f"--prompts {path}: is no folder; give the folder testmini_prompts or test_prompts")
    absolute = Path(os.path.abspath(path))  # a link keeps its name
    name = absolute.name
    if name.endswith(_EVAL_PROMPTS):
        prompts = name.removesuffix(_EVAL_PROMPTS) + _PROMPTS
        raise UserError(f"--prompts {path}: is the folder of questions; give {prompts}, which lies beside it")
    folder = absolute.parent / f"{name.removesuffix(_PROMPTS)}{_EVAL_PROMPTS}"
    if not folder.is_dir():
        raise UserError(
            f"--prompts {path}: has no folder {folder.name} beside it; copy that of the official data there"
        )
    return folder


def _entries(file: Path, questions_file: Path) -> tuple[str, list[dict[str, Any]]]:
    prompts, questions = read_json_lines(file), read_json_lines(questions_file)
    if len(prompts) != len(questions):
        raise UserError(
            f"{questions_file}: has {len(questions)} lines, but {file.name} has {len(prompts)}; use one version"
        )
    if not prompts:
        raise UserError(f"{file}: is empty; use the official file")
    attribute = prompts[0][1].get("type")
    if attribute not in ATTRIBUTES:
        raise UserError(f"{file}:1: type {attribute!r:.60} is none of the 39 of TIIF-Bench; use the official file")
    for where, entry in prompts + questions:
        if entry.get("type") != attribute:
            raise UserError(f"{where}: type is {entry.get('type')!r:.60}, but {file.name} begins with {attribute!r}")
    for where, entry in prompts:
        for length in LENGTHS:
            text_of(entry, f"{length}_description", where)
    for where, entry in questions:
        _check_questions(entry, where)
    pairs = zip(prompts, questions, strict=True)
    return attribute, [{**prompt, **questions_of} for (_, prompt), (_, questions_of) in pairs]


def _check_questions(entry: Mapping[str, Any], where: str) -> None:
    questions, answers = entry.get("yn_question_list"), entry.get("yn_answer_list")
    for name, values in (("yn_question_list", questions), ("yn_answer_list", answers)):
        if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
            raise UserError(f"{where}: {name} is {values!r:.60}, not a list of texts; use the official file")
    assert isinstance(questions, list) and isinstance(answers, list)
    if len(questions) != len(answers):
        raise UserError(f"{where}: has {len(questions)} questions, but {len(answers)} answers; use the official file")
    if wrong := {answer.strip().lower() for answer in answers} - {"yes", "no"}:
        raise UserError(f"{where}: yn_answer_list has {sorted(wrong)[0]!r:.60}; an answer is yes or no")


def _official_items(lines: int) -> int:
    sizes = [sum(official.values()) for official in SIZES.values()]
    return len(LENGTHS) * min(sizes, key=lambda size: abs(size - lines))

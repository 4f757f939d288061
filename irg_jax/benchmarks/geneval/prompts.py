"""GenEval's prompt files: one JSON object per line, 553 lines, short or long prompts.

The short file is ``prompts/evaluation_metadata.jsonl`` of djghosh13/geneval@af4902f; the long one, in which a language
model has rewritten the prompts, is ``eval/gen/geneval/prompts/evaluation_metadata_long.jsonl`` of
ByteDance-Seed/Bagel. They ask for the same objects, and scores of one are not comparable with scores of the other.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from irg_jax.benchmarks.benchmark import Item, PromptSet
from irg_jax.benchmarks.files import digest_of_files, digest_of_values
from irg_jax.benchmarks.geneval.classes import CLASSES, COLORS, RELATIONS
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import read_given_text
from irg_jax.core.text import check_text

NAME = "geneval"
TITLE = "GenEval"
SAMPLES = 4
ITEMS = 553

# SHA-256 of what the official files say, whatever their white space and the order of their keys.
_SHORT = "c8fa1d631e48e8aed7e8650bdcd7551da0ab18e4266678da968badfd0d31f2af"
_WITHOUT_PROMPTS = "43aacfc727c36e564e12cbbd02affd5c814c0e2a07f17defd8a4371a87454467"
# The longest short prompt has 12 words; the long ones are paragraphs.
_SHORT_WORDS = 12


def read_prompts(path: Path) -> PromptSet:
    """Reads a prompt file: ``short``, ``long``, or ``custom`` for any other one of the same format.

    The key of an item is the number of its line, from ``00000``. A custom file, also a part of the official one, still
    has ``official_items`` 553.

    Raises:
      UserError: it cannot be read, or a line is not as the official ones; it names the line and the key.
    """
    text = read_given_text(path, "prompts")
    lines = [line for line in enumerate(text.split("\n"), start=1) if line[1].strip()]
    if not lines:
        raise UserError(f"--prompts {path}: contains no prompt; give evaluation_metadata.jsonl of GenEval")
    entries = [_entry(line, f"{path}:{number}") for number, line in lines]
    items = tuple(
        Item(f"{index:05d}", entry["prompt"], entry["tag"], SAMPLES, entry) for index, entry in enumerate(entries)
    )
    return PromptSet(NAME, _version(entries), items, digest_of_files([path]), ITEMS)


def _version(entries: Sequence[Mapping[str, Any]]) -> str:
    if digest_of_values(entries) == _SHORT:
        return "short"
    same = digest_of_values([{name: entry[name] for name in entry if name != "prompt"} for entry in entries])
    is_long = all(len(entry["prompt"].split()) > _SHORT_WORDS for entry in entries)
    return "long" if same == _WITHOUT_PROMPTS and is_long else "custom"


def _entry(line: str, where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error}); give evaluation_metadata.jsonl of GenEval") from error
    if not isinstance(entry, dict) or not {"tag", "include", "prompt"} <= entry.keys():
        raise UserError(f"{where}: has no tag, include and prompt; give evaluation_metadata.jsonl of GenEval")
    for name in ("tag", "prompt"):
        if not check_text(entry[name], f"{where}: {name}").strip():
            raise UserError(f"{where}: {name} is empty; write one")
    for name in ("include", "exclude"):
        clauses = entry.get(name, [])
        if not isinstance(clauses, list):
            raise UserError(f"{where}: {name} is {clauses!r:.60}; write a list of objects with class and count")
        for index, clause in enumerate(clauses):
            _check_clause(clause, index, f"{where}: {name}[{index}]")
    return entry


def _check_clause(clause: Any, index: int, where: str) -> None:
    if not isinstance(clause, dict) or clause.get("class") not in CLASSES:
        raise UserError(f"{where} is {clause!r:.80}; its class must be one of the 80 that GenEval's detector knows")
    count = clause.get("count")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise UserError(f"{where}: count is {count!r:.40}; write a whole number from 1 on")
    if "color" in clause and clause["color"] not in COLORS:
        raise UserError(f"{where}: color is {clause['color']!r:.40}; allowed: {', '.join(COLORS)}")
    if "position" in clause:
        position = clause["position"]
        is_pair = isinstance(position, list) and len(position) == 2 and position[0] in RELATIONS
        if not is_pair or not isinstance(position[1], int) or not 0 <= position[1] < index:
            raise UserError(
                f"{where}: position is {position!r:.60}; write [relation, number of an earlier clause, from 0] "
                f"with one of {', '.join(RELATIONS)}"
            )

"""Result files of the official judge script: ``FOLDER/MODEL/TYPE/LENGTH/LINE.json`` (A113N-W3I/TIIF-Bench@3aae750)."""

import re
from pathlib import Path

from irg_jax.benchmarks.benchmark import Item, PromptSet, Row
from irg_jax.benchmarks.files import read_json
from irg_jax.benchmarks.places import check_model_name
from irg_jax.benchmarks.tiif.judge import count
from irg_jax.benchmarks.tiif.prompts import answers_of
from irg_jax.core.errors import UserError

_OF_TURNS = re.compile(r"(?:turn\d+|comparison)_\d+\.json")


def read_results(prompts: PromptSet, folder: Path, *, model: str, turn: int | None = None) -> list[Row]:
    """The rows of the results that are there; there is none for an item without a file.

    The published results of testmini have the lines of the full test in their names for style and real_world, so they
    are read with the prompts of the full test.

    Args:
      prompts: of the version that the lines in the names count in.
      folder: with the folder of the model in it.
      model: whose results.
      turn: reads ``turn1_LINE.json``, as IRG names the results of its turns in one folder. The official summary would
        pool all turns.

    Raises:
      UserError: no such folder; a file that is no result of these prompts, or has not one answer for each question;
        results of several turns where none is asked for.
    """
    root = folder / check_model_name(model)
    files = sorted(root.glob("*/*/*.json"))
    if not files:
        raise UserError(f"{root}: has no TYPE/LENGTH/LINE.json; give the folder with the results of {model}")
    items = {item.key: item for item in prompts.items}
    rows: dict[str, Row] = {}
    for file in files:
        if _OF_TURNS.fullmatch(file.name):
            if turn is None:
                raise UserError(
                    f"{file}: is of one of several turns, which the official summary would pool; copy those of one "
                    "turn into a folder of their own, as LINE.json"
                )
            if not file.name.startswith(f"turn{turn}_"):
                continue
        line = file.stem.removeprefix(f"turn{turn}_")
        key = "/".join((*file.relative_to(root).parts[:2], line))
        if key not in items:
            raise UserError(f"{file}: is no result of these prompts, which have no {key}; give those of its version")
        if key in rows:
            raise UserError(f"{file}: is a second result of {key}; keep one of them")
        rows[key] = _row(file, items[key])
    return [rows[key] for key in items if key in rows]


def _row(file: Path, item: Item) -> Row:
    result = read_json(file)
    if not isinstance(result, dict):
        raise UserError(f"{file}: is not an object; give the files of the official script")
    lists = [result.get(name) for name in ("questions", "gt_answers", "model_pred")]
    if not all(isinstance(values, list) and all(isinstance(value, str) for value in values) for values in lists):
        raise UserError(f"{file}: has no lists questions, gt_answers and model_pred; judge its image again")
    questions, right, given = ([value.strip() for value in values or ()] for values in lists)
    if questions != [text.strip() for text in item.entry["yn_question_list"]]:
        raise UserError(
            f"{file}: has other questions than {item.key} of these prompts; give the prompts of its version"
        )
    right, given = ([value.lower() for value in values] for values in (right, given))
    if right != answers_of(item):
        raise UserError(f"{file}: has other right answers than {item.key} of these prompts; give those of its version")
    if len(given) != len(right):
        raise UserError(f"{file}: has {len(given)} answers to {len(right)} questions; judge its image again")
    return Row(item.key, 0, item.category, count(right, given))

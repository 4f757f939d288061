"""Scores and embeddings of OneIG-Bench in files: our JSON, NumPy's formats, and the CSV of the official scripts.

Scores are one JSON object, by key; ``null`` is a missing image. Diversity has the distances of pairs, in any order::

    {"reasoning/000": [0.21, 0.2, null, 0.19], …}

Embeddings are an ``.npz`` with an array [images, D] for each key, or an ``.npy`` [prompts, images, D] in the order of
the prompts; rows of NaN are missing images. References and answers are an ``.npz`` with an array for each style,
[M, D], or for each key, [D].
"""

import ast
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from irg_jax.benchmarks.benchmark import Item, Row
from irg_jax.benchmarks.files import read_json
from irg_jax.benchmarks.oneig import alignment, similarity, text
from irg_jax.benchmarks.oneig.prompts import read_table
from irg_jax.core.errors import UserError


def read_scores(path: Path, items: Sequence[Item]) -> dict[str, list[float]]:
    """The scores of each item, NaN for ``null``.

    Raises:
      UserError: the file cannot be read, has an item too many or too few, or a score that is no number.
    """
    given = read_json(path)
    if not isinstance(given, dict):
        raise UserError(f"{path}: is not a JSON object; write a list of scores for each key")
    _check_keys(path, given, items)
    scores = {}
    for key, values in given.items():
        is_list = isinstance(values, list)
        if not is_list or any(isinstance(v, bool) or not isinstance(v, int | float | None) for v in values):
            raise UserError(f"{path}: {key} is {values!r:.60}; write a list of numbers, null for a missing image")
        scores[key] = [float("nan") if value is None else float(value) for value in values]
    return scores


def read_embeddings(path: Path, items: Sequence[Item]) -> dict[str, np.ndarray]:
    """The embeddings of the images of each item, float [images, D], from an ``.npz`` or ``.npy``.

    Raises:
      UserError: the file cannot be read, has an item too many or too few, or an array of another shape.
    """
    given = _load(path)
    if isinstance(given, np.ndarray):
        if given.ndim != 3 or len(given) != len(items):
            raise UserError(
                f"{path}: has the shape {given.shape}; give [{len(items)} prompts, images, D], in their order"
            )
        given = {item.key: array for item, array in zip(items, given, strict=True)}
    _check_keys(path, given, items)
    for item in items:
        if given[item.key].ndim != 2 or len(given[item.key]) != item.samples:
            raise UserError(
                f"{path}: {item.key} has the shape {given[item.key].shape}; give [{item.samples} images, D]"
            )
    return dict(given)


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of some names from an ``.npz``: references by style, or answers by key.

    Raises:
      UserError: the file cannot be read or lacks a name.
    """
    given = _load(path)
    if isinstance(given, np.ndarray):
        raise UserError(f"{path}: is one array; give an .npz with a name for each")
    lacking = [name for name in names if name not in given]
    if lacking:
        raise UserError(f"{path}: has no {', '.join(lacking[:5])}; it has {', '.join(sorted(given)[:5])}")
    return {name: given[name] for name in names}


def read_official_csv(
    path: Path, metric: str, items: Sequence[Item], model: str, texts: Mapping[str, str]
) -> list[Row]:
    """The ``…_prompt_score_EN_….csv`` of an official script, whose cells are means over the images of a prompt.

    Each gives a row with sample 0. Summaries of these rows are those of the official script where no image is missing;
    for text, an official mean over images weighs a prompt by how many of its cells are not black.

    Args:
      path: of the file.
      metric: ``alignment``, ``text``, ``reasoning``, ``style`` or ``diversity``.
      items: that the metric is about.
      model: the column.
      texts: by key, from ``references.read_texts``; used by ``text``.

    Raises:
      UserError: the file cannot be read, has no such column, or has an item too many, too few or without a score.
    """
    table = read_table(path, (model,))
    with_category = metric in (alignment.VALUE, similarity.DIVERSITY)
    by_name = {item.key.replace("/", "_") if with_category else item.key.partition("/")[2]: item for item in items}
    given: dict[str, str] = {}
    for number, row in enumerate(table, start=1):
        name = next(iter(row.values()))
        key = by_name[name].key if name in by_name else name
        if key in given:
            raise UserError(f"{path}: row {number}: {name} is there already; keep one of them")
        given[key] = row[model]
    _check_keys(path, given, items)
    rows = []
    for item in items:
        try:
            values = _official_values(metric, given[item.key], texts.get(item.key, ""))
            if not all(map(math.isfinite, values.values())):
                raise ValueError("a score that is no number")
        except (SyntaxError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: {item.key} has the score {given[item.key]!r:.60}; the official script found no image that it "
                "could score: make it again"
            ) from error
        rows.append(Row(item.key, 0, item.category, values))
    return rows


def _official_values(metric: str, cell: str, wanted: str) -> dict[str, float]:
    if metric != "text":
        return {metric: float(cell)}
    distance, exact, accuracy = (float(value) for value in ast.literal_eval(cell))
    _, words = text.count_words(text.normalise(wanted), "")
    return {text.DISTANCE: distance, text.EXACT: exact, text.MATCHED: accuracy * words, text.WORDS: float(words)}


def _load(path: Path) -> Any:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded.astype(np.float64)
        with loaded:
            return {name: loaded[name].astype(np.float64) for name in loaded.files}
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: cannot be read ({error}); write it with numpy.savez or numpy.save") from error


def _check_keys(path: Path, given: Mapping[str, Any], items: Sequence[Item]) -> None:
    keys = {item.key for item in items}
    for what, names, remedy in (
        ("lacks", [key for key in keys if key not in given], "score them"),
        ("has too many:", [key for key in given if key not in keys], "give the file of these prompts and this metric"),
    ):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise UserError(f"{path}: {what} {', '.join(sorted(names)[:5])}{more}; {remedy}")

"""VQAScores from files: JSON or CSV by id, or what t2v_metrics saves (linzhiqiu/t2v_metrics@6ecb74f)."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from irg_jax.benchmarks.benchmark import PromptSet, Row
from irg_jax.benchmarks.files import read_json
from irg_jax.benchmarks.genai_bench.prompts import is_scored, key_of
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import read_given_text


def read_rows(prompts: PromptSet, path: Path) -> list[Row]:
    """The rows of the scored prompts that the file has a score for.

    Args:
      prompts: whose ids the file has.
      path: ``.json``, an object from ids to scores; ``.csv`` with the columns id and score; ``.npy`` or ``.pt``, the
        array that ``genai_bench/evaluate.py`` saves, [prompts, 1, 1] in the order of the prompts.

    Raises:
      UserError: it cannot be read, is none of these, has an id that is not there or one twice, or a score that is not
        0 to 1; an array of another length than the prompts.
    """
    readers: Mapping[str, Callable[[Path], Mapping[str, Any] | np.ndarray]] = {
        ".json": _from_json,
        ".csv": _from_csv,
        ".npy": _from_npy,
        ".pt": _from_pt,
    }
    if path.suffix not in readers:
        raise UserError(f"--file {path}: is none of {', '.join(readers)}; convert it to one of them")
    given = readers[path.suffix](path)
    scores = (
        _by_key(given, str(path)) if isinstance(given, Mapping) else scores_of_array(prompts, given, f"--file {path}")
    )
    items = {item.key: item for item in prompts.items}
    for key in scores:
        if key not in items:
            raise UserError(
                f"--file {path}: has the id {key}, which is none of these prompts; give those of its version"
            )
    return [
        Row(key, 0, item.category, {"score": scores[key]})
        for key, item in items.items()
        if key in scores and is_scored(item)
    ]


def scores_of_array(prompts: PromptSet, array: np.ndarray, where: str) -> dict[str, float]:
    """The scores by id of an array [prompts], [prompts, images] or [prompts, images, 1], in the order of the prompts.

    Several images of a prompt are averaged, as in the official script.

    Raises:
      UserError: it has another number of prompts or texts, or a score that is not 0 to 1.
    """
    scores = np.asarray(array, np.float64)
    if scores.ndim not in (1, 2, 3) or len(scores) != len(prompts.items) or not scores.size:
        raise UserError(f"{where}: has shape {list(scores.shape)}, but there are {len(prompts.items)} prompts")
    if scores.ndim == 3 and scores.shape[2] != 1:
        raise UserError(f"{where}: has {scores.shape[2]} texts for each image; score each image with its prompt only")
    means = scores.reshape(len(scores), -1).mean(axis=1)
    return {item.key: _score(mean, f"{where}: {item.key}") for item, mean in zip(prompts.items, means, strict=True)}


def _by_key(given: Mapping[str, Any], where: str) -> dict[str, float]:
    scores: dict[str, float] = {}
    for key, value in given.items():
        number = key.strip()
        if not (number.isascii() and number.isdigit()):
            raise UserError(f"--file {where}: the id {key!r:.60} is not a number; use the ids of the prompts")
        if key_of(int(number)) in scores:
            raise UserError(f"--file {where}: has the id {key_of(int(number))} twice; keep one of them")
        scores[key_of(int(number))] = _score(value, f"--file {where}: {key}")
    return scores


def _score(value: Any, where: str) -> float:
    try:
        score = float(value)
    except (TypeError, ValueError):
        score = math.nan
    if isinstance(value, bool) or not 0 <= score <= 1:
        raise UserError(f"{where}: the score is {value!r:.60}; it has to be a number from 0 to 1")
    return score


def _from_json(path: Path) -> Mapping[str, Any]:
    values = read_json(path)
    if not isinstance(values, dict):
        raise UserError(f"--file {path}: is {json.dumps(values)!r:.40}, not an object from ids to scores")
    return values


def _from_csv(path: Path) -> Mapping[str, Any]:
    table = csv.DictReader(io.StringIO(read_given_text(path, "file vqascores")))
    if not {"id", "score"} <= set(table.fieldnames or ()):
        raise UserError(f"--file {path}: has the columns {table.fieldnames}; it needs id and score")
    scores: dict[str, Any] = {}
    for row in table:
        if row["id"] is None or row["id"] in scores:
            raise UserError(f"--file {path}:{table.line_num}: has the id {row['id']} twice, or none; repair the line")
        scores[row["id"]] = row["score"]
    return scores


def _from_npy(path: Path) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float64)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"--file {path}: cannot be read as an array of numbers ({error})") from error


def _from_pt(path: Path) -> np.ndarray:
    try:
        import torch  # noqa: PLC0415  (not needed for anything else here)
    except ImportError:
        raise UserError(f"--file {path}: needs PyTorch to be read; pip install torch, or save it as .npy") from None
    try:
        return torch.load(path, map_location="cpu", weights_only=True).to(torch.float64).numpy()
    except Exception as error:  # PyTorch's reader raises many kinds
        raise UserError(f"--file {path}: cannot be read as a tensor ({error})") from error

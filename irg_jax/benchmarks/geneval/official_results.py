"""The ``results.jsonl`` of the official scorer: what it decided about each image, checked against what it detected.

Each line has filename, tag, prompt, correct, reason, metadata and details, the last two as JSON in text
(``evaluation/evaluate_images.py`` of djghosh13/geneval@af4902f). It keeps no colours.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from irg_jax.benchmarks.benchmark import Place, PromptSet
from irg_jax.benchmarks.geneval.decision import Object, decide, keep_objects, stated_colors
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import read_given_text

_FIELDS = ("filename", "tag", "prompt", "correct", "reason", "metadata", "details")


def read_official_results(path: Path, prompts: PromptSet) -> tuple[dict[Place, bool], dict[Place, str]]:
    """What the official scorer decided.

    Returns:
      for (key, sample) whether the image is correct, and its prompt; for ``rows`` and ``check_places``.

    Raises:
      UserError: the file cannot be read; a line is not as the official ones, is of an image that an earlier line has,
        or of another prompt file; or its decision does not follow from its detections with the default thresholds, so
        that other thresholds were used.
    """
    correct: dict[Place, bool] = {}
    texts: dict[Place, str] = {}
    entries = {item.key: item.entry for item in prompts.items}
    for number, text in enumerate(read_given_text(path, "file official").split("\n"), start=1):
        if not text.strip():
            continue
        where = f"{path}:{number}"
        values = _parse(text, where)
        place = _place(values["filename"], where)
        if place in correct:
            raise UserError(f"{where}: {place[0]} sample {place[1]} is there already; keep one of the lines")
        metadata, details = _inner(values["metadata"], where), _inner(values["details"], where)
        if place[0] in entries and metadata != entries[place[0]]:
            raise UserError(
                f"{where}: {values['filename']} is of the prompt {values['prompt']!r:.60}, but the prompt file says "
                f"{entries[place[0]]['prompt']!r:.60}; use the prompt file of these images"
            )
        _check(values["correct"], metadata, details, where)
        correct[place], texts[place] = values["correct"], values["prompt"]
    return correct, texts


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error}); give results.jsonl of GenEval") from error
    missing = [name for name in _FIELDS if not isinstance(values, dict) or name not in values]
    if missing:
        raise UserError(f"{where}: has no {', '.join(missing)}; give results.jsonl of GenEval's evaluate_images.py")
    if not isinstance(values["correct"], bool):
        raise UserError(f"{where}: correct is {values['correct']!r:.40}, not true or false; score the images again")
    return values


def _place(filename: Any, where: str) -> Place:
    parts = PurePosixPath(str(filename).replace("\\", "/")).parts
    sample = re.fullmatch(r"([0-9]+)\.png", parts[-1]) if len(parts) >= 3 else None
    if sample is None or parts[-2] != "samples" or not re.fullmatch(r"[0-9]+", parts[-3]):
        raise UserError(
            f"{where}: filename is {filename!r:.80}, not …/00012/samples/0003.png; keep the official folders"
        )
    return f"{int(parts[-3]):05d}", int(sample[1])


def _inner(text: Any, where: str) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: metadata or details is not JSON in a text; score the images again") from error


def _check(correct: bool, metadata: Mapping[str, Any], details: Mapping[str, Any], where: str) -> None:
    try:
        objects = {
            name: [Object((box[0], box[1], box[2], box[3]), box[4]) for box in boxes] for name, boxes in details.items()
        }
        kept = keep_objects(objects, metadata["tag"])
        # Without the colours, which the file does not have.
        clauses = [{name: clause[name] for name in clause if name != "color"} for clause in metadata["include"]]
        # In the order of the file, which the official script has sorted: sorting again would turn equal scores round.
        decided = decide(objects, {**metadata, "include": clauses}, stated_colors).correct
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise UserError(f"{where}: metadata or details is not as GenEval's; score the images again") from error
    has_colors = clauses != metadata["include"]
    as_many = {name: len(ones) for name, ones in kept.items()} == {name: len(ones) for name, ones in objects.items()}
    if not as_many or (correct and not decided) or (decided and not correct and not has_colors):
        raise UserError(
            f"{where}: correct is {correct}, which does not follow from its details with the default thresholds; score "
            "the images again without --options"
        )

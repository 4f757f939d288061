"""Detections in files, so that images are scored without a detector: JSON lines of ours, or the official results.

The first line of a file of ours says what detected; each other line is an image. ``color`` is given for the objects
whose colour the prompt asks for::

    {"format": "geneval detections 1", "detector": "facebook/mask2former-swin-small-coco-instance …"}
    {"key": "00012", "sample": 0, "prompt": "a photo of a red bench",
     "objects": [{"class": "bench", "score": 0.98, "box": [10, 20, 300, 280], "color": "red"}]}
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from irg_jax.benchmarks.benchmark import Place, Problem, PromptSet, Row
from irg_jax.benchmarks.geneval.classes import CLASSES, COLORS
from irg_jax.benchmarks.geneval.decision import Decision, Object, decide, keep_objects, stated_colors
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import read_given_text

FORMAT = "geneval detections 1"


class Detections(NamedTuple):
    """What a detector saw.

    Attributes:
      detector: which, with its weights; for reports.
      images: for (key, sample) the objects by class, in any order.
      prompts: for (key, sample) the prompt that the image was made for.
    """

    detector: str
    images: Mapping[Place, Mapping[str, Sequence[Object]]]
    prompts: Mapping[Place, str]


def header(detector: str) -> str:
    """The first line of a file."""
    return json.dumps({"format": FORMAT, "detector": detector}) + "\n"


def line(key: str, sample: int, prompt: str, objects: Mapping[str, Sequence[Object]]) -> str:
    """The line of an image."""
    found = [
        {"class": name, "score": one.score, "box": list(one.box), **({"color": one.color} if one.color else {})}
        for name, ones in objects.items()
        for one in ones
    ]
    return json.dumps({"key": key, "sample": sample, "prompt": prompt, "objects": found}) + "\n"


def write_detections(path: Path, detections: Detections) -> None:
    """Writes a file. Raises OSError."""
    with path.open("w", encoding="utf-8") as file:
        file.write(header(detections.detector))
        for (key, sample), objects in detections.images.items():
            file.write(line(key, sample, detections.prompts[key, sample], objects))


def read_detections(path: Path) -> Detections:
    """Reads a file.

    Raises:
      UserError: it cannot be read, is of another format, or a line is wrong or of an image that an earlier line has; it
        names the line.
    """
    lines = [
        text for text in enumerate(read_given_text(path, "file detections").split("\n"), start=1) if text[1].strip()
    ]
    first = _json(*lines[0], path) if lines else {}
    if first.get("format") != FORMAT or not isinstance(first.get("detector"), str):
        raise UserError(f'{path}:1: is not {{"format": "{FORMAT}", "detector": …}}; write that line first')
    images: dict[Place, Mapping[str, Sequence[Object]]] = {}
    prompts: dict[Place, str] = {}
    for number, text in lines[1:]:
        values, where = _json(number, text, path), f"{path}:{number}"
        key, sample, prompt = values.get("key"), values.get("sample"), values.get("prompt")
        if not isinstance(key, str) or not isinstance(sample, int) or not isinstance(prompt, str):
            raise UserError(f'{where}: key, sample or prompt is missing; write {{"key": "00012", "sample": 0, …}}')
        if (key, sample) in images:
            raise UserError(f"{where}: {key} sample {sample} is there already; keep one of the lines")
        images[key, sample], prompts[key, sample] = _objects(values.get("objects"), where), prompt
    return Detections(first["detector"], images, prompts)


def check_places(prompts: PromptSet, places: Mapping[Place, str], path: Path) -> tuple[Problem, ...]:
    """The images that a file lacks and those that it has too many; () where it is complete.

    Args:
      prompts: the items.
      places: for each image in the file the prompt it was made for.
      path: of the file.

    Raises:
      UserError: an image was made for another prompt: the file is of another prompt file.
    """
    owed = {(item.key, sample): item.prompt for item in prompts.items for sample in range(item.samples)}
    for place, prompt in places.items():
        if place in owed and owed[place] != prompt:
            raise UserError(
                f"{path}: {place[0]} sample {place[1]} is of the prompt {prompt!r:.60}, but the prompt file says "
                f"{owed[place]!r:.60}; use the prompt file of these images"
            )
    where = [("missing", place, "detect it") for place in owed if place not in places]
    where += [("extra", place, "remove it") for place in places if place not in owed]
    return tuple(
        Problem(kind, f"{path}: {key} sample {sample}", f"is {kind}; {remedy}") for kind, (key, sample), remedy in where
    )


def decide_images(prompts: PromptSet, detections: Detections) -> dict[Place, Decision]:
    """The decision on each image of the prompt set that was detected; others are for ``check_places`` to name.

    Raises:
      UserError: an object has no colour although its prompt asks for one.
    """
    decisions = {}
    for item in prompts.items:
        for sample in range(item.samples):
            if (item.key, sample) in detections.images:
                kept = keep_objects(detections.images[item.key, sample], item.category)
                try:
                    decisions[item.key, sample] = decide(kept, item.entry, stated_colors)
                except UserError as error:
                    raise UserError(f"{item.key} sample {sample}: {error}") from error
    return decisions


def rows(prompts: PromptSet, correct: Mapping[Place, bool]) -> list[Row]:
    """A row with the value ``correct`` for each image of the prompt set that has been decided."""
    return [
        Row(item.key, sample, item.category, {"correct": float(correct[item.key, sample])})
        for item in prompts.items
        for sample in range(item.samples)
        if (item.key, sample) in correct
    ]


def rows_of_detections(prompts: PromptSet, detections: Detections) -> list[Row]:
    """``rows`` of ``decide_images``."""
    return rows(prompts, {place: decision.correct for place, decision in decide_images(prompts, detections).items()})


def _json(number: int, text: str, path: Path) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path}:{number}: not JSON ({error}); write one object per line") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}:{number}: {text!r:.60} is not a JSON object; write one object per line")
    return values


def _objects(values: Any, where: str) -> dict[str, list[Object]]:
    if not isinstance(values, list):
        raise UserError(f"{where}: objects is {values!r:.60}; write a list, empty where nothing was detected")
    objects: dict[str, list[Object]] = {}
    for index, one in enumerate(values):
        at = f"{where}: objects[{index}]"
        if not isinstance(one, dict) or one.get("class") not in CLASSES:
            raise UserError(f"{at} is {one!r:.80}; its class must be one of the 80 of GenEval's object_names.txt")
        box: Any = one.get("box")
        score: Any = one.get("score")
        color: Any = one.get("color", "")
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
            raise UserError(f"{at}: box is {box!r:.60}; write [left, top, right, bottom] in pixels")
        if not _is_number(score) or not 0 <= score <= 1:
            raise UserError(f"{at}: score is {score!r:.40}; write a number from 0 to 1")
        if color not in ("", *COLORS):
            raise UserError(f"{at}: color is {color!r:.40}; allowed: {', '.join(COLORS)}")
        objects.setdefault(one["class"], []).append(Object((box[0], box[1], box[2], box[3]), score, color))
    return objects


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

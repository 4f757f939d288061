"""Both thinkings: written from the scene, and parsed back from any text."""

import re
from collections.abc import Sequence

from irg_jax.worlds.shapes.faults import Fault
from irg_jax.worlds.shapes.objects import COLOURS, NUMBERS, PLACES, SHAPES, PlacedObject, in_words

HEADINGS = (
    "### Detailed Explanation of Required Improvements:",
    "### Step-by-Step Modification Guidance:",
    "### Final Comprehensive Prompt for the Improved Image:",
)
NO_FAULT = "Nothing is missing."

_COLOUR, _SHAPE, _PLACE = (f"({'|'.join(words)})" for words in (COLOURS, SHAPES, PLACES))
_OBJECT = re.compile(rf"\ban? {_COLOUR} {_SHAPE} {_PLACE}\b", re.IGNORECASE)
_PLAN = re.compile(r"\s*<think>\s*I plan (\w+) objects?: (.*?)\.\s*</think>\s*", re.DOTALL)
_PARTS = re.compile(
    r"\s*<think>(.*?)" + "".join(rf"\n{re.escape(heading)}\n(.*?)" for heading in HEADINGS) + r"</think>\s*", re.DOTALL
)
_MISSING = re.compile(rf"\bThe {_COLOUR} {_SHAPE} {_PLACE} is missing\.")
_MISCOLOURED = re.compile(rf"\bThe {_SHAPE} {_PLACE} is {_COLOUR} instead of {_COLOUR}\.")
_MISPLACED = re.compile(rf"\bThe {_COLOUR} {_SHAPE} is {_PLACE} instead of {_PLACE}\.")


def write_plan(objects: Sequence[PlacedObject]) -> str:
    """Thinking 1: the plan of an image of one to four objects, inside ``<think> … </think>``."""
    noun = "object" if len(objects) == 1 else "objects"
    return f"<think> I plan {NUMBERS[len(objects)]} {noun}: {', '.join(map(in_words, objects))}. </think>"


def parse_plan(text: str) -> list[PlacedObject] | None:
    """The objects of a thinking 1 in order; None if ``text`` is not a complete plan in the format of ``write_plan``."""
    plan = _PLAN.fullmatch(text)
    objects = _listed(plan[2]) if plan else None
    if not plan or not objects or len(objects) >= len(NUMBERS) or plan[1] != NUMBERS[len(objects)]:
        return None
    return objects


def write_reflection(objects: Sequence[PlacedObject], fault: Fault | None) -> str:
    """Thinking 2 about the weak image of the planned ``objects`` with ``fault``, in the fixed four-part format."""
    step = f"1. {_remedy(fault)} 2. Sharpen, saturate, outline." if fault else "1. Sharpen, saturate, outline."
    listed = ", ".join(map(in_words, objects))
    parts = (
        f"<think> Soft, pale, no outlines. {_sentence(fault) if fault else NO_FAULT}",
        "Edges must be sharp, colours vivid, outlines dark.",
        step,
        f"{listed[0].upper()}{listed[1:]}; vivid, sharp, outlined. </think>",
    )
    return parts[0] + "".join(f"\n{heading}\n{part}" for heading, part in zip(HEADINGS, parts[1:], strict=True))


def has_four_parts(text: str) -> bool:
    """Whether ``text`` is a thinking 2: an opening and the three headed parts, none empty, inside ``<think>``."""
    return _parts(text) is not None


def parse_faults(text: str) -> list[Fault] | None:
    """The faults that a thinking 2 names in its opening; [] if it says that nothing is missing.

    None if the text does not have the four parts, or its opening says neither.
    """
    parts = _parts(text)
    if parts is None:
        return None
    opening = parts[0]
    faults = [Fault("missing", PlacedObject(*found)) for found in _MISSING.findall(opening)]
    for shape, place, seen, colour in _MISCOLOURED.findall(opening):
        faults.append(Fault("miscoloured", PlacedObject(colour, shape, place), seen))
    for colour, shape, seen, place in _MISPLACED.findall(opening):
        faults.append(Fault("misplaced", PlacedObject(colour, shape, place), seen))
    return faults if faults or NO_FAULT in opening else None


def _parts(text: str) -> tuple[str, ...] | None:
    found = _PARTS.fullmatch(text)
    parts = tuple(part.strip() for part in found.groups()) if found else ()
    return parts if all(parts) and not any("###" in part or "<think>" in part for part in parts) and parts else None


def _listed(text: str) -> list[PlacedObject] | None:
    """The objects of a comma-separated list; None if any item is something else."""
    found = [_OBJECT.fullmatch(item.strip()) for item in text.split(",")]
    objects = [PlacedObject(*(word.lower() for word in item.groups())) for item in found if item]
    return objects if len(objects) == len(found) else None


def _sentence(fault: Fault) -> str:
    thing = fault.planned
    if fault.kind == "missing":
        return f"The {thing.colour} {thing.shape} {thing.place} is missing."
    if fault.kind == "miscoloured":
        return f"The {thing.shape} {thing.place} is {fault.seen} instead of {thing.colour}."
    return f"The {thing.colour} {thing.shape} is {fault.seen} instead of {thing.place}."


def _remedy(fault: Fault) -> str:
    thing = fault.planned
    if fault.kind == "missing":
        return f"Add the {thing.colour} {thing.shape} {thing.place}."
    if fault.kind == "miscoloured":
        return f"Paint the {thing.shape} {thing.place} {thing.colour}."
    return f"Move the {thing.colour} {thing.shape} to the {thing.place}."

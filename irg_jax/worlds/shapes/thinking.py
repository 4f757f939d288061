"""Both thinkings: written from plans and pictures, and parsed back from any text.

Thinking 2 gives the evidence before the verdict: first what is seen, place by place, before any planned word; then each
planned object with the seen and the planned word of every attribute side by side; then the places that nobody planned;
and only then, in a sentence each, what is wrong.

The word of a picture is spelled, "C A T": so each of its letters is a token of its own, which is written, painted and
compared alone, and no piece of a tokenizer hides which letters it has.
"""

import dataclasses
import itertools
import re
from collections.abc import Sequence

from irg_jax.worlds.shapes.faults import Fault, compare
from irg_jax.worlds.shapes.objects import COLOURS, NUMBERS, PLACES, SHAPES, PlacedObject, in_words, with_article
from irg_jax.worlds.shapes.picture import FLAWS, STYLES, Content
from irg_jax.worlds.shapes.scene import Scene

HEADINGS = (
    "### Detailed Explanation of Required Improvements:",
    "### Step-by-Step Modification Guidance:",
    "### Final Comprehensive Prompt for the Improved Image:",
)
NO_FAULT = "Nothing is wrong."
EXPLANATION = "Keep all that is right as it is."

# The word for each aspect of the execution: as it should be, and by flaw.
_ASPECTS: tuple[tuple[tuple[str, ...], dict[str, str]], ...] = (
    (STYLES, {"no outlines": "bare"}),
    (("sharp",), {"blurred": "blurred", "ragged": "ragged"}),
    (("vivid",), {"faded": "faded"}),
    (("even",), {"noisy": "noisy"}),
)
_FLAW_SENTENCES = {
    "no outlines": "The outlines are missing.",
    "blurred": "The edges are blurred.",
    "ragged": "The edges are ragged.",
    "faded": "The colours are faded.",
    "noisy": "The background is noisy.",
}
_FLAW_REMEDIES = {
    "no outlines": "Draw dark outlines.",
    "blurred": "Sharpen the edges.",
    "ragged": "Smooth the edges.",
    "faded": "Strengthen the colours.",
    "noisy": "Clean the background.",
}

_STYLES = "|".join(STYLES)
_COLOUR, _SHAPE, _PLACE = (f"({'|'.join(words)})" for words in (COLOURS, SHAPES, PLACES))
_OBJECT = re.compile(rf"\ban? {_COLOUR} {_SHAPE} {_PLACE}\b", re.IGNORECASE)
_PLAN = re.compile(r"\s*<think>\s*I plan (\w+) objects?: ([^;]*?)(?:; ([^;]*?))?\.\s*</think>\s*", re.DOTALL)
_WORD = "([A-Z](?: [A-Z])*)"
_EXTRAS = re.compile(rf"(?:the word {_WORD}(?:, |$))?({_STYLES})?")
_PARTS = re.compile(
    r"\s*<think>(.*?)" + "".join(rf"\n{re.escape(heading)}\n(.*?)" for heading in HEADINGS) + r"</think>\s*", re.DOTALL
)
_SEEN = re.compile(rf"Seen: (.*?); (?:the word {_WORD}, )?(\w+), (\w+), (\w+), (\w+)\.")
_SEEN_PLACE = re.compile(rf"{_PLACE} (?:nothing|{_COLOUR} {_SHAPE})")
# Every sentence about content, and which words of it are of the planned and of the seen object, in the order colour,
# shape, place: a number is a group of the pattern.
_SENTENCES: dict[str, tuple[str, tuple[int, int, int] | None, tuple[int, int, int] | None]] = {
    "missing": (rf"The {_COLOUR} {_SHAPE} {_PLACE} is missing\.", (1, 2, 3), None),
    "extra": (rf"The {_COLOUR} {_SHAPE} {_PLACE} is extra\.", None, (1, 2, 3)),
    "miscoloured": (rf"The {_SHAPE} {_PLACE} is {_COLOUR} instead of {_COLOUR}\.", (4, 1, 2), (3, 1, 2)),
    "misshapen": (rf"The {_COLOUR} {_SHAPE} {_PLACE} should be an? {_SHAPE}\.", (1, 4, 3), (1, 2, 3)),
    "replaced": (rf"The {_COLOUR} {_SHAPE} {_PLACE} should be an? {_COLOUR} {_SHAPE}\.", (4, 5, 3), (1, 2, 3)),
    "misplaced": (rf"The {_COLOUR} {_SHAPE} is {_PLACE} instead of {_PLACE}\.", (1, 2, 4), (1, 2, 3)),
}
# Likewise for the word and the style.
_OTHER_SENTENCES: tuple[tuple[re.Pattern, str, tuple[int | None, int | None]], ...] = (
    (re.compile(rf"The word is {_WORD} instead of {_WORD}\."), "wrong word", (2, 1)),
    (re.compile(rf"The word {_WORD} is missing\."), "wrong word", (1, None)),
    (re.compile(rf"The word {_WORD} is extra\."), "wrong word", (None, 1)),
    (re.compile(rf"The objects are ({_STYLES}) instead of ({_STYLES})\."), "wrong style", (2, 1)),
)
_FAULTS = {kind: re.compile(pattern) for kind, (pattern, _, _) in _SENTENCES.items()}


@dataclasses.dataclass(frozen=True)
class Reflection:
    """What a thinking 2 says.

    Attributes:
      seen: what it says it sees; None where it does not say so in the form of ``write_reflection``. Where it sees no
        outlines, it says nothing of the style, which is the first one then.
      faults: what it says is wrong, each as ``Fault.named`` is; None if it neither names a fault nor says that nothing
        is wrong.
    """

    seen: Content | None
    faults: frozenset[Fault] | None


def said(seen: Content) -> Content:
    """What can be said of a picture: the objects by place, and no style where there are no outlines."""
    style = STYLES[0] if "no outlines" in seen.flaws else seen.style
    things = sorted(seen.things, key=lambda thing: PLACES.index(thing.place))
    return Content(tuple(things), tuple(flaw for flaw in FLAWS if flaw in seen.flaws), seen.word, style)


def write_plan(scene: Scene) -> str:
    """Thinking 1: the plan of an image of one to six objects, inside ``<think> … </think>``."""
    noun = "object" if len(scene.objects) == 1 else "objects"
    return f"<think> I plan {NUMBERS[len(scene.objects)]} {noun}: {_listing(scene)}. </think>"


def parse_plan(text: str) -> Content | None:
    """What a thinking 1 plans; None if ``text`` is not a complete plan in the format of ``write_plan``."""
    plan = _PLAN.fullmatch(text)
    objects = _listed(plan[2]) if plan else None
    if not plan or not objects or len(objects) >= len(NUMBERS) or plan[1] != NUMBERS[len(objects)]:
        return None
    extras = _EXTRAS.fullmatch(plan[3] or "")
    return Content(tuple(objects), (), _unspelled(extras[1]), extras[2] or STYLES[0]) if extras else None


def write_reflection(scene: Scene, seen: Content, places: Sequence[str]) -> str:
    """Thinking 2 about a weak picture, in the fixed four-part format.

    Args:
      scene: with the plan.
      seen: what the picture shows.
      places: of the canvas, in reading order.
    """
    faults = compare(scene.plan, seen)
    listed = _listing(scene)
    steps = " ".join(f"{i}. {remedy}" for i, remedy in enumerate(map(write_remedy, faults), 1)) or "1. Keep it."
    parts = (
        f"<think> {write_seen(seen, places)} {write_evidence(scene.plan, seen, places)} {write_faults(faults)}",
        EXPLANATION,
        steps,
        f"{listed[0].upper()}{listed[1:]}. </think>",
    )
    return parts[0] + "".join(f"\n{heading}\n{part}" for heading, part in zip(HEADINGS, parts[1:], strict=True))


def write_seen(seen: Content, places: Sequence[str]) -> str:
    """What a picture shows, place by place, and how it is executed."""
    at = {thing.place: thing for thing in seen.things}
    listed = ", ".join(f"{place} {_called(at.get(place))}" for place in places)
    words = [next((word for flaw, word in bad.items() if flaw in seen.flaws), good[0]) for good, bad in _ASPECTS]
    words[0] = _style(seen)
    if seen.word:
        words.insert(0, f"the word {_spelled(seen.word)}")
    return f"Seen: {listed}; {', '.join(words)}."


def write_verdict(planned: Content, seen: Content, places: Sequence[str]) -> str:
    """What follows from what is seen: the evidence against the plan, then the faults."""
    return f"{write_evidence(planned, seen, places)} {write_faults(compare(planned, seen))}"


def write_evidence(planned: Content, seen: Content, places: Sequence[str]) -> str:
    """What is seen against what is planned, object by object and word by word, then the places without a plan.

    Of word and style only where a word, or another style than the usual one, is planned; of a word letter by letter.
    """
    at = {thing.place: thing for thing in seen.things}
    checks = []
    for thing in planned.things:
        there = at.get(thing.place)
        words = [(getattr(there, name) if there else "nothing", getattr(thing, name)) for name in ("colour", "shape")]
        verdicts = ", ".join(f"{a} for {b} {_verdict(a == b)}" for a, b in words)
        checks.append(f"{thing.colour} {thing.shape} {thing.place}, {verdicts}")
    if planned.word:
        letters = itertools.zip_longest(seen.word, planned.word, fillvalue="nothing")
        verdicts = ", ".join(f"{a} for {b} {_verdict(a == b)}" for a, b in letters)
        checks.append(f"the word {_spelled(planned.word)}, {verdicts}")
    if planned.style != STYLES[0]:
        style = _style(seen)
        checks.append(f"{planned.style}, {style} for {planned.style} {_verdict(style == planned.style)}")
    free = [place for place in places if place not in {thing.place for thing in planned.things}]
    elsewhere = ", ".join(f"{place} {_called(at.get(place))} {_verdict(place not in at)}" for place in free)
    return f"Planned: {'; '.join(checks)}." + (f" Elsewhere: {elsewhere}." if free else "")


def write_faults(faults: Sequence[Fault]) -> str:
    """A sentence for every fault, or the one that says that there is none."""
    return " ".join(map(write_fault, faults)) or NO_FAULT


def has_four_parts(text: str) -> bool:
    """Whether ``text`` is a thinking 2: an opening and the three headed parts, none empty, inside ``<think>``."""
    return _parts(text) is not None


def parse_reflection(text: str) -> Reflection | None:
    """What a thinking 2 says in its opening; None if ``text`` does not have the four parts."""
    parts = _parts(text)
    if parts is None:
        return None
    return Reflection(_parse_seen(parts[0]), _parse_faults(parts[0]))


def _parse_seen(opening: str) -> Content | None:
    found = _SEEN.search(opening)
    if found is None:
        return None
    places = [_SEEN_PLACE.fullmatch(item) for item in found[1].split(", ")]
    if not all(places):
        return None
    things = tuple(PlacedObject(place[2], place[3], place[1]) for place in places if place and place[2])
    words, flaws = found.groups()[2:], []
    for word, (good, bad) in zip(words, _ASPECTS, strict=True):
        flaw = next((flaw for flaw, name in bad.items() if name == word), None)
        if flaw is None and word not in good:
            return None
        flaws += [flaw] if flaw else []
    return said(Content(things, tuple(flaws), _unspelled(found[2]), words[0]))


def _parse_faults(opening: str) -> frozenset[Fault] | None:
    faults = set()
    for kind, (_, planned, seen) in _SENTENCES.items():
        for found in _FAULTS[kind].finditer(opening):
            sides = [PlacedObject(*(found[i] for i in side)) if side else None for side in (planned, seen)]
            faults.add(Fault(kind, *sides))
    for pattern, kind, groups in _OTHER_SENTENCES:
        for found in pattern.finditer(opening):
            faults.add(Fault(kind, *(_unspelled(found[i]) if i else None for i in groups)))
    faults |= {Fault(flaw) for flaw, sentence in _FLAW_SENTENCES.items() if sentence in opening}
    return frozenset(faults) if faults or NO_FAULT in opening else None


def _parts(text: str) -> tuple[str, ...] | None:
    found = _PARTS.fullmatch(text)
    parts = tuple(part.strip() for part in found.groups()) if found else ()
    return parts if all(parts) and not any("###" in part or "<think>" in part for part in parts) and parts else None


def _listed(text: str) -> list[PlacedObject] | None:
    """The objects of a comma-separated list; None if any item is something else."""
    found = [_OBJECT.fullmatch(item.strip()) for item in text.split(",")]
    objects = [PlacedObject(*(word.lower() for word in item.groups())) for item in found if item]
    return objects if len(objects) == len(found) else None


def _listing(scene: Scene) -> str:
    """The objects of a plan, then its word and its style where it has any other than usual."""
    extras = [f"the word {_spelled(scene.word)}"] if scene.word else []
    extras += [scene.style] if scene.style != STYLES[0] else []
    return "; ".join([", ".join(map(in_words, scene.objects)), *([", ".join(extras)] if extras else [])])


def _spelled(word: str) -> str:
    return " ".join(word)


def _unspelled(letters: str | None) -> str:
    return (letters or "").replace(" ", "")


def _called(thing: PlacedObject | None) -> str:
    return f"{thing.colour} {thing.shape}" if thing else "nothing"


def _style(seen: Content) -> str:
    """The style, in a word; of what lacks outlines, that it does."""
    return "bare" if "no outlines" in seen.flaws else seen.style


def _verdict(right: bool) -> str:
    return "right" if right else "wrong"


def write_fault(fault: Fault) -> str:
    """The sentence that names a fault."""
    if fault.kind in FLAWS:
        return _FLAW_SENTENCES[fault.kind]
    if fault.kind == "wrong style":
        return f"The objects are {fault.seen} instead of {fault.planned}."
    if fault.kind == "wrong word":
        planned_word, seen_word = map(_spelled, fault.words())
        if planned_word and seen_word:
            return f"The word is {seen_word} instead of {planned_word}."
        return f"The word {planned_word} is missing." if planned_word else f"The word {seen_word} is extra."
    planned, seen = fault.sides()
    if planned is None:
        assert seen is not None
        return f"The {_called(seen)} {seen.place} is extra."
    if seen is None:
        return f"The {_called(planned)} {planned.place} is missing."
    if fault.kind == "miscoloured":
        return f"The {seen.shape} {seen.place} is {seen.colour} instead of {planned.colour}."
    if fault.kind == "misshapen":
        return f"The {_called(seen)} {seen.place} should be {with_article(planned.shape)}."
    if fault.kind == "replaced":
        return f"The {_called(seen)} {seen.place} should be {with_article(_called(planned))}."
    return f"The {_called(seen)} is {seen.place} instead of {planned.place}."


def write_remedy(fault: Fault) -> str:
    """What to do about a fault, as one step."""
    if fault.kind in FLAWS:
        return _FLAW_REMEDIES[fault.kind]
    if fault.kind == "wrong style":
        return f"Make the objects {fault.planned}."
    if fault.kind == "wrong word":
        planned_word, seen_word = map(_spelled, fault.words())
        return f"Write the word {planned_word}." if planned_word else f"Remove the word {seen_word}."
    planned, seen = fault.sides()
    if planned is None:
        assert seen is not None
        return f"Remove the {_called(seen)} {seen.place}."
    if seen is None:
        return f"Add {with_article(_called(planned))} {planned.place}."
    if fault.kind == "miscoloured":
        return f"Paint the {seen.shape} {seen.place} {planned.colour}."
    if fault.kind == "misplaced":
        return f"Move the {_called(seen)} {planned.place}."
    return f"Turn the {_called(seen)} {seen.place} into {with_article(_called(planned))}."

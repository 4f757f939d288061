"""A scene: what a prompt asks for, and the objects planned to answer it."""

import dataclasses
import json
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.objects import COLOURS, NUMBERS, PLACES, SHAPES, PlacedObject
from irg_jax.worlds.shapes.picture import STYLES, Content
from irg_jax.worlds.shapes.relations import RELATIONS

MANNERS = ("geneval", "wise", "tiif", "genai_bench", "oneig")
KINDS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")  # of GenEval
MOST_WANTED = 4  # entries of a GenEval scene with several shapes


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a prompt of GenEval asks for: ``count`` objects of ``shape``, of any colour if ``colour`` is None."""

    shape: str
    colour: str | None = None
    count: int = 1


@dataclasses.dataclass(frozen=True)
class Check:
    """What a prompt of any other manner asks for, as a question and its answer.

    Attributes:
      question: a yes/no question that ``questions.answer_question`` understands.
      expected: whether the answer has to be yes.
    """

    question: str
    expected: bool = True


@dataclasses.dataclass(frozen=True)
class Scene:
    """One scene.

    Attributes:
      kind: what its manner divides its prompts by: of GenEval one of ``KINDS``, of the others see ``manners``.
      wanted: what the prompt asks for in GenEval, one to four entries of different shapes; () in other manners.
      relation: where the first wanted object is relative to the second (one of ``RELATIONS``); only for ``position``.
      objects: the plan; no two objects share a place. In GenEval in the order of ``wanted``.
      manner: the benchmark in whose manner the prompt asks, one of ``MANNERS``.
      checks: what every picture for the prompt has to satisfy; () in GenEval.
      prompts: the wordings in which it may be asked for; in TIIF the short one, then the long one. () in GenEval, whose
        wordings are a grammar (``prompts.py``).
      word: to be written in capitals below the objects; empty for none.
      style: in which it is to be drawn, one of ``picture.STYLES``.
      fact: name of the fact that a prompt of WISE is about, else empty.
    """

    kind: str
    wanted: tuple[Wanted, ...] = ()
    relation: str | None = None
    objects: tuple[PlacedObject, ...] = ()
    manner: str = MANNERS[0]
    checks: tuple[Check, ...] = ()
    prompts: tuple[str, ...] = ()
    word: str = ""
    style: str = STYLES[0]
    fact: str = ""

    @property
    def plan(self) -> Content:
        """What its pictures shall show."""
        return Content(self.objects, (), self.word, self.style)

    def to_json(self) -> str:
        """The scene as one line of JSON, the format of ``Trajectory.scene``; fields with their default are left out."""
        fields = dataclasses.asdict(self)
        kept = {name: value for name, value in fields.items() if name in _ALWAYS or value != _DEFAULTS[name]}
        return json.dumps(kept, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Scene":
        """Parses the text of ``to_json``; UserError if it is not a valid scene."""
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"scene: not JSON ({error}); give the text that Scene.to_json wrote") from None
        if not isinstance(raw, dict) or not _ALWAYS <= set(raw) <= _ALWAYS | set(_DEFAULTS):
            found = sorted(raw) if isinstance(raw, dict) else type(raw).__name__
            needed, also = ", ".join(sorted(_ALWAYS)), ", ".join(sorted(set(_DEFAULTS) - _ALWAYS))
            raise UserError(f"scene: needs the fields {needed} and may have {also}, found {found}")
        raw = _DEFAULTS | raw
        for name in ("kind", "word", "fact"):
            if not isinstance(raw[name], str):
                raise UserError(f"scene.{name}: {raw[name]!r} is not a text")
        _one_of(raw["manner"], MANNERS, "scene.manner")
        _one_of(raw["style"], STYLES, "scene.style")
        scene = cls(
            raw["kind"],
            tuple(_wanted(item, f"scene.wanted[{i}]") for i, item in enumerate(_list(raw, "wanted"))),
            raw["relation"],
            tuple(_object(item, f"scene.objects[{i}]") for i, item in enumerate(_list(raw, "objects"))),
            raw["manner"],
            tuple(_check(item, f"scene.checks[{i}]") for i, item in enumerate(_list(raw, "checks"))),
            tuple(_prompt(item, f"scene.prompts[{i}]") for i, item in enumerate(_list(raw, "prompts"))),
            raw["word"],
            raw["style"],
            raw["fact"],
        )
        places = [thing.place for thing in scene.objects]
        if len(set(places)) != len(places):
            raise UserError(f"scene.objects: two objects share a place ({', '.join(places)}); give each its own")
        if scene.manner == "geneval":
            _check_geneval(scene)
        elif scene.wanted or scene.relation is not None or not scene.checks or not scene.prompts:
            raise UserError(f"scene: {scene.manner} takes checks and prompts, and neither wanted nor a relation")
        return scene


_ALWAYS = {"kind", "objects"}
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(Scene) if field.name != "kind"}


def _check_geneval(scene: Scene) -> None:
    """Raises UserError unless the parts of a scene of GenEval are consistent."""
    _one_of(scene.kind, KINDS, "scene.kind")
    least = 2 if scene.kind in ("two_object", "position", "color_attr") else 1
    most = MOST_WANTED if scene.kind in ("two_object", "color_attr") else least
    if not least <= len(scene.wanted) <= most:
        number = f"{least} to {most}" if most > least else str(least)
        raise UserError(f"scene.wanted: {scene.kind} takes {number} entries, this has {len(scene.wanted)}")
    if scene.kind == "position":
        _one_of(scene.relation, RELATIONS, "scene.relation")
    elif scene.relation is not None:
        raise UserError(f"scene.relation: {scene.kind} takes null, this has {scene.relation!r}")
    shapes = [item.shape for item in scene.wanted]
    if len(set(shapes)) != len(shapes):
        raise UserError(f"scene.wanted: two entries ask for one shape ({', '.join(shapes)}); give them different ones")
    planned = [thing.shape for thing in scene.objects]
    if planned != [item.shape for item in scene.wanted for _ in range(item.count)]:
        raise UserError(f"scene.objects: the plan {planned} does not follow scene.wanted in shapes, counts and order")
    if scene.checks or scene.prompts or scene.word or scene.fact or scene.style != STYLES[0]:
        raise UserError("scene: geneval takes wanted, and no checks, prompts, word, style or fact")


def _fields(raw: Any, names: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(raw, dict) or set(raw) != set(names):
        found = sorted(raw) if isinstance(raw, dict) else type(raw).__name__
        raise UserError(f"{where}: needs the fields {', '.join(names)}, found {found}")
    return raw


def _list(raw: dict[str, Any], name: str) -> list[Any]:
    if not isinstance(raw[name], list | tuple):  # a default is a tuple
        raise UserError(f"scene.{name}: needs a list, found {type(raw[name]).__name__}")
    return raw[name]


def _one_of(value: Any, known: Any, where: str) -> None:
    if not isinstance(value, str) or value not in known:
        raise UserError(f"{where}: {value!r} is not one of {', '.join(known)}")


def _wanted(raw: Any, where: str) -> Wanted:
    raw = _fields(raw, ("shape", "colour", "count"), where)
    _one_of(raw["shape"], SHAPES, f"{where}.shape")
    if raw["colour"] is not None:
        _one_of(raw["colour"], COLOURS, f"{where}.colour")
    if type(raw["count"]) is not int or not 1 <= raw["count"] < len(NUMBERS):
        raise UserError(f"{where}.count: {raw['count']!r} is not a whole number from 1 to {len(NUMBERS) - 1}")
    return Wanted(**raw)


def _object(raw: Any, where: str) -> PlacedObject:
    raw = _fields(raw, ("colour", "shape", "place"), where)
    _one_of(raw["colour"], COLOURS, f"{where}.colour")
    _one_of(raw["shape"], SHAPES, f"{where}.shape")
    _one_of(raw["place"], PLACES, f"{where}.place")
    return PlacedObject(**raw)


def _check(raw: Any, where: str) -> Check:
    raw = _fields(raw, ("question", "expected"), where)
    if not isinstance(raw["question"], str) or not isinstance(raw["expected"], bool):
        raise UserError(f"{where}: needs a text as question and true or false as expected, found {raw}")
    return Check(**raw)


def _prompt(raw: Any, where: str) -> str:
    if not isinstance(raw, str) or not raw:
        raise UserError(f"{where}: {raw!r} is not a prompt")
    return raw

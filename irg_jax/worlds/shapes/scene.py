"""A scene: what a prompt asks for, and the objects planned to answer it."""

import dataclasses
import json
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.objects import COLOURS, PLACES, SHAPES, PlacedObject

KINDS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
RELATIONS = ("left of", "right of", "above", "below")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What the prompt asks for: ``count`` objects of ``shape``, of any colour if ``colour`` is None."""

    shape: str
    colour: str | None = None
    count: int = 1


@dataclasses.dataclass(frozen=True)
class Scene:
    """One scene.

    Attributes:
      kind: one of ``KINDS``, GenEval's six.
      wanted: what the prompt asks for, one or two entries of different shapes.
      relation: where the first wanted object is relative to the second (one of ``RELATIONS``); only for ``position``.
      objects: the plan, in the order of ``wanted``; no two objects share a place.
    """

    kind: str
    wanted: tuple[Wanted, ...]
    relation: str | None
    objects: tuple[PlacedObject, ...]

    def to_json(self) -> str:
        """The scene as one line of JSON, the format of ``Trajectory.scene``."""
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Scene":
        """Parses the text of ``to_json``; UserError if it is not a valid scene."""
        try:
            raw = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"scene: not JSON ({error}); give the text that Scene.to_json wrote") from None
        raw = _fields(raw, ("kind", "wanted", "relation", "objects"), "scene")
        _one_of(raw["kind"], KINDS, "scene.kind")
        scene = cls(
            raw["kind"],
            tuple(_wanted(item, f"scene.wanted[{i}]") for i, item in enumerate(_list(raw, "wanted"))),
            raw["relation"],
            tuple(_object(item, f"scene.objects[{i}]") for i, item in enumerate(_list(raw, "objects"))),
        )
        _check(scene)
        return scene


def _check(scene: Scene) -> None:
    """Raises UserError unless the parts of the scene are consistent."""
    pair = scene.kind in ("two_object", "position", "color_attr")
    if len(scene.wanted) != (2 if pair else 1):
        raise UserError(f"scene.wanted: {scene.kind} takes {2 if pair else 1} entries, this has {len(scene.wanted)}")
    if scene.kind == "position":
        _one_of(scene.relation, RELATIONS, "scene.relation")
    elif scene.relation is not None:
        raise UserError(f"scene.relation: {scene.kind} takes null, this has {scene.relation!r}")
    places = [thing.place for thing in scene.objects]
    if len(set(places)) != len(places):
        raise UserError(f"scene.objects: two objects share a place ({', '.join(places)}); give each its own")
    shapes = [item.shape for item in scene.wanted]
    if len(set(shapes)) != len(shapes):
        raise UserError(f"scene.wanted: two entries ask for a {shapes[0]}; give them different shapes")
    planned = [thing.shape for thing in scene.objects]
    if planned != [item.shape for item in scene.wanted for _ in range(item.count)]:
        raise UserError(f"scene.objects: the plan {planned} does not follow scene.wanted in shapes, counts and order")


def _fields(raw: Any, names: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(raw, dict) or set(raw) != set(names):
        found = sorted(raw) if isinstance(raw, dict) else type(raw).__name__
        raise UserError(f"{where}: needs the fields {', '.join(names)}, found {found}")
    return raw


def _list(raw: dict[str, Any], name: str) -> list[Any]:
    if not isinstance(raw[name], list):
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
    if type(raw["count"]) is not int or not 1 <= raw["count"] <= len(PLACES):
        raise UserError(f"{where}.count: {raw['count']!r} is not a whole number from 1 to {len(PLACES)}")
    return Wanted(**raw)


def _object(raw: Any, where: str) -> PlacedObject:
    raw = _fields(raw, ("colour", "shape", "place"), where)
    _one_of(raw["colour"], COLOURS, f"{where}.colour")
    _one_of(raw["shape"], SHAPES, f"{where}.shape")
    _one_of(raw["place"], PLACES, f"{where}.place")
    return PlacedObject(**raw)

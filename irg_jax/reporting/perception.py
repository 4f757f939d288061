"""How true thinking 2 is of the picture that it is about: judged for one picture, counted for many.

Whether faults are named where there are some, and none where there are none, is only told by both together: a model
that always accuses has the first in full, one that always acquits the second, and neither looks. So the figure that
counts is their mean, ``balanced``.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from irg_jax.reporting.shares import share
from irg_jax.worlds.shapes.faults import FAULT_KINDS, Fault, compare
from irg_jax.worlds.shapes.objects import PlacedObject
from irg_jax.worlds.shapes.picture import STYLES, Content
from irg_jax.worlds.shapes.reader import SeenPicture
from irg_jax.worlds.shapes.thinking import parse_reflection, said

# Kinds of faults of what nobody planned.
_UNPLANNED = {"extra", "too many"}
_MOST = 3  # from so many faults on, pictures are counted together


@dataclasses.dataclass(frozen=True)
class Reading:
    """One thinking 2 against its picture.

    Attributes:
      seen: whether it says exactly what the picture shows, and how that is executed.
      faults: of the picture against its plan; None where there is no plan to compare with.
      named: what it says is wrong, as ``Fault.named``; None where it neither names a fault nor says that there is none.
    """

    seen: bool
    faults: tuple[Fault, ...] | None
    named: frozenset[Fault] | None

    @property
    def exact(self) -> bool:
        """Whether it names exactly the faults, or says that there are none where there are none."""
        return self.faults is not None and self.named == frozenset(fault.named for fault in self.faults)

    def names(self, kind: str) -> bool:
        """Whether it names every fault of a kind that the picture has."""
        return {fault.named for fault in self.faults or () if fault.kind == kind} <= (self.named or frozenset())


def judge(picture: SeenPicture, planned: Content | None, thinking2: str) -> Reading:
    """Judges a thinking 2.

    Args:
      picture: what the picture shows.
      planned: its plan; None where there is none.
      thinking2: any text.
    """
    reflection = parse_reflection(thinking2)
    shown = picture.content(planned.style if planned else STYLES[0])
    return Reading(
        reflection is not None and reflection.seen == said(shown),
        None if planned is None else compare(planned, shown),
        None if reflection is None else reflection.faults,
    )


def summarise(readings: Sequence[Reading]) -> dict[str, Any]:
    """The figures of many pictures, as they stand in scores.json; all but ``seen`` are of the pictures with a plan."""
    compared = [reading for reading in readings if reading.faults is not None]
    counts = [(len(reading.faults or ()), reading) for reading in compared]
    faulty = _exact(reading for count, reading in counts if count)
    faultless = _exact(reading for count, reading in counts if not count)
    kinds = {kind: [reading for reading in compared if kind in _kinds(reading)] for kind in FAULT_KINDS}
    return {
        "seen": _share([reading.seen for reading in readings]),
        "faulty": faulty,
        "faultless": faultless,
        "balanced": (faulty["share"] + faultless["share"]) / 2 if faulty["count"] and faultless["count"] else None,
        "by_kind": {kind: _share([having.names(kind) for having in some]) for kind, some in kinds.items() if some},
        "by_count": {
            _label(most): _exact(reading for count, reading in counts if min(count, _MOST) == most)
            for most in range(_MOST + 1)
        },
        "several": _share([count > 1 for count, _ in counts]),
        "unplanned": _share([bool(_kinds(reading) & _UNPLANNED) for reading in compared]),
    }


def to_record(reading: Reading) -> dict[str, Any]:
    """A reading as JSON values: faults by kind with what is planned and what is seen, None where there is nothing."""
    named = None if reading.named is None else sorted(map(dataclasses.asdict, reading.named), key=str)
    faults = None if reading.faults is None else list(map(dataclasses.asdict, reading.faults))
    return {"seen": reading.seen, "exact": reading.exact, "faults": faults, "named": named}


def from_record(record: Mapping[str, Any]) -> Reading:
    """The reading of ``to_record``. Raises KeyError, TypeError or ValueError if it is not one."""
    faults, named = record["faults"], record["named"]
    return Reading(
        bool(record["seen"]),
        None if faults is None else tuple(map(_fault, faults)),
        None if named is None else frozenset(map(_fault, named)),
    )


def _fault(values: Mapping[str, Any]) -> Fault:
    if values["kind"] not in FAULT_KINDS:
        raise ValueError(f"{values['kind']!r} is not a kind of fault")
    sides = (values["planned"], values["seen"])
    return Fault(values["kind"], *(PlacedObject(**side) if isinstance(side, Mapping) else side for side in sides))


def _kinds(reading: Reading) -> set[str]:
    return {fault.kind for fault in reading.faults or ()}


def _label(count: int) -> str:
    return f"{count} or more" if count == _MOST else str(count)


def _exact(readings: Iterable[Reading]) -> dict[str, Any]:
    return _share([reading.exact for reading in readings])


def _share(hits: Sequence[bool]) -> dict[str, Any]:
    return share(sum(hits), len(hits))

"""Which rows are the same trajectory, told from the hashes of their fields."""

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from irg_jax.data.importing.scan import hash_field
from irg_jax.data.modes import QUESTIONS
from irg_jax.data.trajectory import CONTENTS

_Fields = dict[str, int]  # the hash of each field that is there


class Records(NamedTuple):
    """The records of a data set, in the order of the input.

    Attributes:
      members: indices of the rows that a record is made of, record after record; the one with most fields first.
      ends: of each record in ``members``.
    """

    members: np.ndarray
    ends: np.ndarray


def find_prompts(rows: np.ndarray, splits: np.ndarray) -> np.ndarray:
    """Tells prompts and questions apart, in place; gives the indices of the rows where that cannot be done.

    A text's prompt is the longest one that another row has too; else what a known question leaves: one of our own, or
    one that was found in another row of the data set.

    Args:
      rows: dtype ``ROW``; ``split``, and the hash and the size of the prompt, are filled in.
      splits: dtype ``SPLIT``; ``row`` is an index into ``rows``.
    """
    prompts = np.unique(rows["hashes"]["prompt"])
    found = splits[np.isin(splits["prompt"], prompts)]
    _fill(rows, found)
    learned = found["question"][found["split"] == rows["split"][found["row"]]]
    questions = np.union1d(learned[learned != 0], np.array([hash_field(q) for q in QUESTIONS.values()], np.uint64))
    _fill(rows, splits[np.isin(splits["question"], questions) & (rows["split"][splits["row"]] == 0)])
    return np.unique(splits["row"][rows["split"][splits["row"]] == 0])


def merge(rows: np.ndarray) -> Records:
    """Merges the rows of each trajectory.

    A row whose fields all are in another one adds nothing to it. Rows that have different fields belong together if
    they agree in what they share, which is the prompt and at least one field more, and if nothing disagrees with that:
    as soon as two rows that could go with a third one differ, all of them stay records of their own.
    """
    order = np.argsort(rows["hashes"]["prompt"], kind="stable")
    prompts = rows["hashes"]["prompt"][order]
    starts = np.flatnonzero(np.r_[True, prompts[1:] != prompts[:-1]]) if len(rows) else np.array([], int)
    found: list[list[int]] = []
    for group in np.split(order, starts[1:]) if len(rows) else ():
        fields = [_fields(row) for row in rows["hashes"][group]]
        found += [[int(group[i]) for i in members] for members in _merge_group(fields)]
    return _records(found)


def distinct(rows: np.ndarray) -> Records:
    """The first of the rows that have equal contents, for rows that are trajectories of their own."""
    contents = np.ascontiguousarray(rows["hashes"]).view(np.uint64).reshape(len(rows), len(CONTENTS))
    _, first = np.unique(contents, axis=0, return_index=True)
    return _records([[int(i)] for i in np.sort(first)])


def _fill(rows: np.ndarray, splits: np.ndarray) -> None:
    # The longest prompt of a row stands first, and ``unique`` takes the first.
    numbers, first = np.unique(splits["row"], return_index=True)
    chosen = splits[first]
    rows["split"][numbers] = chosen["split"]
    rows["hashes"]["prompt"][numbers] = chosen["prompt"]
    rows["sizes"]["prompt"][numbers] = chosen["size"]


def _fields(hashes: np.void) -> _Fields:
    return {name: value for name, value in zip(CONTENTS, hashes.tolist(), strict=True) if value}


def _merge_group(fields: Sequence[_Fields]) -> Iterator[list[int]]:
    """Members of each record among rows of one prompt."""
    largest: list[int] = []  # rows that no other row contains
    having: collections.defaultdict[tuple[str, int], list[int]] = collections.defaultdict(list)
    for i in sorted(range(len(fields)), key=lambda i: (-len(fields[i]), i)):
        candidates = min((having[item] for item in fields[i].items()), key=len)
        if not any(fields[i].items() <= fields[j].items() for j in candidates):
            largest.append(i)
            for item in fields[i].items():
                having[item].append(i)
    for component in _components(largest, fields, having):
        if all(_agree(fields[i], fields[j]) for i in component for j in component):
            yield _cover(component, fields)
        else:
            yield from ([i] for i in component)


def _components(
    indices: Iterable[int], fields: Sequence[_Fields], having: Mapping[tuple[str, int], list[int]]
) -> Iterator[list[int]]:
    """Rows that belong together directly or through others: they share a field beside the prompt, and agree."""
    left = dict.fromkeys(indices)
    while left:
        component = [left.popitem()[0]]
        for i in component:  # grows as it goes
            shared = {j for item in fields[i].items() if item[0] != "prompt" for j in having[item]}
            found = [j for j in shared if j in left and _agree(fields[i], fields[j])]
            for j in found:
                del left[j]
            component += found
        yield component


def _agree(one: _Fields, other: _Fields) -> bool:
    return all(other.get(name, value) == value for name, value in one.items())


def _cover(component: Iterable[int], fields: Sequence[_Fields]) -> list[int]:
    """As few of the rows as have all the fields, taken in the order of the number of their fields."""
    members: list[int] = []
    covered: set[str] = set()
    for i in sorted(component, key=lambda i: (-len(fields[i]), i)):
        if not fields[i].keys() <= covered:
            members.append(i)
            covered |= fields[i].keys()
    return members


def _records(found: list[list[int]]) -> Records:
    found.sort()
    return Records(
        np.array([i for members in found for i in members], np.int64),
        np.cumsum([len(m) for m in found], dtype=np.int64),
    )

"""Between the two passes: which records there are, and which shard of which split each one is in."""

import collections
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.data.importing import merge, scan
from irg_jax.data.importing.row import Rejected
from irg_jax.data.trajectory import CONTENTS

SHARD_BYTES = 256 << 20
HELD_OUT = "held_out"
TRAIN = "train"


class Plan(NamedTuple):
    """What is to be written.

    Attributes:
      shards: by split, the records of each shard.
      rejected: everything that cannot be used, in the order of the input.
      noted: what was accepted though unusual, with the number of rows.
      rows: of the input, with the rejected ones.
    """

    shards: dict[str, list["Shard"]]
    rejected: list[Rejected]
    noted: collections.Counter[str]
    rows: int


class Shard(NamedTuple):
    """Rows of dtype ``scan.ROW``, record after record, and the end of each record."""

    rows: np.ndarray
    ends: np.ndarray


def make_plan(
    scans: Sequence[scan.Scan],
    merges: bool,
    held_out: float,
    reject: Callable[[int, int, str], Rejected],
) -> Plan:
    """Plans the data set.

    Held-out records are chosen by the hash of their prompt, so that no prompt is in both splits, and those of a data
    set stay held out when records are added.

    Args:
      scans: of all pieces, in order.
      merges: see ``Importer``.
      held_out: a share below 1, or a number of records: those of as many prompts as are needed for it.
      reject: see ``Importer.rejected``.

    Raises:
      UserError: no rows that can be used, or more are held out than there are.
    """
    rows = np.concatenate([one.rows for one in scans])
    starts = np.cumsum([0, *(len(one.rows) for one in scans)])
    rejected = [one for found in scans for one in found.rejected]
    noted = sum((one.noted for one in scans), collections.Counter())
    total = len(rows) + sum(one.rows for one in rejected)
    bad: dict[int, str] = {}
    if merges:
        splits = np.concatenate([one.splits for one in scans])
        splits["row"] += np.repeat(starts[:-1], [len(one.splits) for one in scans]).astype(np.uint32)
        for i in merge.find_prompts(rows, splits):
            bad[int(i)] = "its prompt cannot be told from the question around it: no other row has the prompt"
    else:
        bad = _repeated_keys(rows, reject)
    rejected += [reject(int(rows["piece"][i]), int(rows["number"][i]), reason) for i, reason in bad.items()]
    rows = np.delete(rows, list(bad))
    if not len(rows):
        raise UserError(f"none of {total} rows can be used; the first: {_shown(rejected[0])}")
    records = merge.merge(rows) if merges else merge.distinct(rows)
    if merged := len(rows) - len(records.ends):
        noted["rows merged into the record of another one"] = merged
    order = {one: i for i, one in enumerate(dict.fromkeys(r.file for r in rejected))}
    rejected.sort(key=lambda one: (order[one.file], -1 if one.row is None else one.row))
    return Plan(_shards(rows, records, held_out), rejected, noted, total)


def _repeated_keys(rows: np.ndarray, reject: Callable[[int, int, str], Rejected]) -> dict[int, str]:
    _, first, which = np.unique(rows["key"], return_index=True, return_inverse=True)
    bad = {}
    for i in np.flatnonzero(first[which] != np.arange(len(rows))):
        earlier = rows[first[which[i]]]
        there = reject(int(earlier["piece"]), int(earlier["number"]), "")
        where = there.file if there.row is None else f"{there.file} row {there.row}"
        bad[int(i)] = f"its key is also that of {where}"
    return bad


def _shards(rows: np.ndarray, records: merge.Records, held_out: float) -> dict[str, list[Shard]]:
    begins = np.r_[0, records.ends[:-1]]
    held = _held_out(rows["hashes"]["prompt"][records.members[begins]], held_out)
    lengths = np.stack([rows["sizes"][name] for name in CONTENTS], 1)[records.members]
    sizes = np.maximum.reduceat(lengths.astype(np.int64), begins, axis=0).sum(1)
    if held.all():
        raise UserError(f"--held_out {held_out:g}: holds out all {len(held)} records; give less")
    shards = {}
    for split, chosen in ((TRAIN, np.flatnonzero(~held)), (HELD_OUT, np.flatnonzero(held))):
        if not len(chosen):
            continue
        total = int(sizes[chosen].sum())
        count = min(max(-(-total // SHARD_BYTES), 1), len(chosen))
        # A record is in the shard that its middle byte is in, so that shards are as equal as records allow.
        middles = np.cumsum(sizes[chosen]) - sizes[chosen] // 2
        which = np.minimum(middles * count // max(total, 1), count - 1)
        parts = [chosen[which == i] for i in range(count)]
        shards[split] = [_shard(rows, records, begins, part) for part in parts if len(part)]
    return shards


def _shard(rows: np.ndarray, records: merge.Records, begins: np.ndarray, chosen: np.ndarray) -> Shard:
    members = np.concatenate([records.members[begins[i] : records.ends[i]] for i in chosen])
    return Shard(rows[members], np.cumsum(records.ends[chosen] - begins[chosen]))


def _held_out(prompts: np.ndarray, held_out: float) -> np.ndarray:
    """Whether each record is held out, from the hashes of their prompts."""
    if held_out < 1:
        return prompts < np.uint64(int(held_out * 2.0**64))
    order = np.argsort(prompts, kind="stable")
    if held_out >= len(prompts):
        raise UserError(f"--held_out {held_out:g}: there are only {len(prompts)} records")
    return prompts <= prompts[order[int(held_out) - 1]]


def _shown(one: Rejected) -> str:
    return f"{one.file}{'' if one.row is None else f' row {one.row}'}: {one.reason}"

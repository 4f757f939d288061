"""What is in a data set of trajectories: modes, lengths and image sizes."""

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from irg_jax.data import images, modes
from irg_jax.data.config import DataConfig
from irg_jax.data.images import ImageTransform
from irg_jax.data.index import scan, trajectories
from irg_jax.data.index.store import StoredIndex
from irg_jax.data.index.trajectories import ModeSamples
from irg_jax.data.packing.fit import fit_budgets
from irg_jax.data.processor import Processor
from irg_jax.data.sources.trajectories import local_folder, open_source, read_only_builder
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.data.trajectory import IMAGES, Trajectory

# BAGEL's sizes. A block of tokens has a start and an end, as a text has.
VAE = ImageTransform(1024, 512, 16)
VIT = ImageTransform(980, 378, 14)
AROUND = 2

_PERCENTILES = (0, 5, 50, 95, 100)


class Stats(NamedTuple):
    """Lengths of all records, as arrays with one entry a record.

    Attributes:
      splits: the name of the record's split.
      lengths: of each text of ``modes.texts``, in tokens or else in characters; 0 if it is missing.
      sizes: width and height of each image, [records, 2]; 0 if it is missing.
      in_tokens: whether lengths are tokens.
    """

    splits: np.ndarray
    lengths: dict[str, np.ndarray]
    sizes: dict[str, np.ndarray]
    in_tokens: bool


def collect(directory: str | os.PathLike[str], tokenizer: str | os.PathLike[str] | None = None) -> Stats:
    """Reads the index of a data set, made if it is missing; without a tokenizer, the whole data set.

    Args:
      directory: the data set's folder.
      tokenizer: folder of a tokenizer; lengths are in characters if None.

    Raises:
      UserError: no data set or no tokenizer there, or a damaged record.
      StorageError: the storage went on answering with errors.
    """
    if tokenizer:
        return _from_index(directory, Tokenizer(tokenizer))
    splits: list[str] = []
    lengths: list[list[int]] = []
    sizes: list[list[tuple[int, int]]] = []
    names: list[str] = []
    for split, record in read(directory):
        texts = modes.texts(record)
        names = list(texts)
        splits.append(split)
        lengths.append([len(text) for text in texts.values()])
        found = (getattr(record, name) for name in IMAGES)
        sizes.append([images.encoded_size(content, record.key) if content else (0, 0) for content in found])
    lengths_by_name = dict(zip(names, np.array(lengths, np.int64).T, strict=True))
    sizes_by_name = dict(zip(IMAGES, np.array(sizes, np.int64).transpose(1, 0, 2), strict=True))
    return Stats(np.array(splits), lengths_by_name, sizes_by_name, in_tokens=False)


def _from_index(directory: str | os.PathLike[str], tokenizer: Tokenizer) -> Stats:
    indices = index_all(directory, tokenizer)
    rows = np.concatenate([index.arrays["rows"] for index in indices.values()])
    splits = np.repeat(list(indices), [len(index.arrays["rows"]) for index in indices.values()])
    lengths = {name: rows[name].astype(np.int64) for name in trajectories.TEXTS}
    return Stats(splits, lengths, {name: rows[name].astype(np.int64) for name in IMAGES}, in_tokens=True)


def index_all(directory: str | os.PathLike[str], tokenizer: Tokenizer) -> dict[str, StoredIndex]:
    """The indices of all splits of a data set, made where they are missing.

    Raises:
      UserError: no data set there, or a damaged record.
      StorageError: the storage went on answering with errors.
    """
    return {
        split: scan.index_trajectories(open_source(directory, split), split, tokenizer) for split in splits(directory)
    }


def propose_budgets(
    directory: str | os.PathLike[str], tokenizer: str, tokens: int, stages: Mapping[str, DataConfig]
) -> str:
    """Budgets of a row for the mixtures of some stages, as lines of a config.

    Args:
      directory: the data set's folder.
      tokenizer: folder of the tokenizer.
      tokens: of a row, und and gen together.
      stages: the data section of each, whose modes are all taken from this data set.

    Raises:
      UserError: as of ``collect``; or the data set has not the modes.
    """
    processor = Processor(Tokenizer(tokenizer), VAE, VIT)
    rows = index_all(directory, processor.tokenizer)["train"].arrays["rows"]
    lines = []
    for stage, data in stages.items():
        mixture = [
            (entry.mode, entry.weight, entry.mandatory, ModeSamples(rows, modes.MODES[entry.mode], processor))
            for entry in data.mixture
        ]
        empty = [name for name, _, _, samples in mixture if not len(samples.records)]
        if empty:
            lines.append(f"{stage}: no record has the fields of {', '.join(empty)}")
            continue
        found = fit_budgets(
            mixture,
            tokens,
            dropout=data.dropout,
            rows_per_pack=data.rows_per_pack,
            max_sample_tokens=data.max_sample_tokens,
        )
        lines.append(
            f"{stage}: c.data.budgets.update(und={found.und}, gen={found.gen}, vit={found.vit}, "
            f"images={found.images})  # filled to {found.fill[0]:.3f} and {found.fill[1]:.3f}"
        )
    return "\n".join(lines)


def read(directory: str | os.PathLike[str]) -> Iterator[tuple[str, Trajectory]]:
    """The records of all splits of a data set in order, with the name of their split.

    Raises:
      UserError: no data set there, or a damaged record.
    """
    for split in splits(directory):
        source = open_source(directory, split)
        yield from ((split, source[index]) for index in range(len(source)))


def splits(directory: str | os.PathLike[str]) -> list[str]:
    """The names of the splits of a data set. Raises UserError where there is none."""
    return list(read_only_builder(local_folder(directory)).info.splits)


def members(found: Stats, mode: modes.Mode) -> np.ndarray:
    """Which records have the fields that a mode needs, bool [records]."""
    has = {name: lengths > 0 for name, lengths in found.lengths.items()}
    has |= {name: size[:, 0] > 0 for name, size in found.sizes.items()}
    return np.logical_and.reduce([has[name] for name in modes.required_fields(mode)])


def tokens(found: Stats, mode: modes.Mode) -> np.ndarray:
    """Tokens of the records of a mode, in the order of the records, at BAGEL's image sizes."""
    chosen = members(found, mode)
    total = np.zeros(int(chosen.sum()), np.int64)
    for part in mode:
        if part.field in IMAGES:
            sizes = found.sizes[part.field][chosen]
            vae = (part.need_loss + part.need_vae) * _blocks(sizes, VAE)
            total += vae + part.need_vit * _blocks(sizes, VIT)
        else:
            total += found.lengths[part.field][chosen] + AROUND
    return total


def describe(found: Stats, max_tokens: int) -> str:
    """The statistics as text, of all splits together where nothing else is said."""
    unit = "tokens" if found.in_tokens else "characters"
    lines = ["records", *(f"  {split:<43} {(found.splits == split).sum():>9}" for split in np.unique(found.splits))]
    heads = [f"{p} %" for p in _PERCENTILES]
    over = f"over {max_tokens} tokens" if found.in_tokens else ""
    lines += [
        "",
        _row("samples of a mode, in tokens" if found.in_tokens else "samples of a mode", "records", over, *heads),
    ]
    for name, mode in modes.MODES.items():
        count = int(members(found, mode).sum())
        if found.in_tokens and count:
            lengths = tokens(found, mode)
            lines.append(_row(name, count, f"{np.mean(lengths > max_tokens):.2%}", *_percentiles(lengths)))
        else:
            lines.append(_row(name, count))
    lines += ["", _row(f"texts, in {unit}", "records", "", *heads)]
    for name in ("prompt", "thinking1", "thinking2"):
        there = found.lengths[name][found.lengths[name] > 0]
        lines.append(_row(name, len(there), "", *_percentiles(there)))
    lines += ["", _row("images, in pixels", "records", "", *heads)]
    for name in IMAGES:
        there = found.sizes[name][found.sizes[name][:, 0] > 0]
        for side, values in (("width", there[:, 0]), ("height", there[:, 1])):
            lines.append(_row(f"{name} {side}", len(there), "", *_percentiles(values)))
    if not found.in_tokens:
        lines += ["", "give --tokenizer for lengths in tokens, and for how many samples are too long"]
    return "\n".join(line.rstrip() for line in lines)


def _blocks(sizes: np.ndarray, transform: ImageTransform) -> np.ndarray:
    """Tokens of the block of each image."""
    return transform.grids(sizes).prod(1) + AROUND


def _percentiles(values: np.ndarray) -> list[int]:
    return [round(float(v)) for v in np.percentile(values, _PERCENTILES)] if len(values) else []


def _row(name: str, count: Any, over: str = "", *numbers: Any) -> str:
    return f"  {name:<43} {count!s:>9} {over:>18} " + " ".join(f"{number!s:>8}" for number in numbers)

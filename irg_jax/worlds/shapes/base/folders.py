"""Writes the data of a base model to disk, each kind into a folder of its own."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from irg_jax.core.errors import UserError
from irg_jax.core.locks import locked
from irg_jax.data.images import decode, encode_png
from irg_jax.worlds.shapes.base.labels import classes, labelled_pictures, labels_of
from irg_jax.worlds.shapes.base.own import own_samples, tasks
from irg_jax.worlds.shapes.base.painting import Edit, captioned, edits
from irg_jax.worlds.shapes.base.plans import Plans
from irg_jax.worlds.shapes.base.understanding import samples
from irg_jax.worlds.shapes.render import render

ABOUT = "about.json"
_VERSION = 6
_LABELLED = {"train": 120_000, "held_out": 1_000}  # pictures of the image encoder alone
_ROWS = 2000  # of a file, and made by a process at a time
_GROUP = 50  # rows of a row group: whoever reads one row reads its whole group
_PARTS_OF_A_PROCESS = 2  # fewer are made sooner than a process starts

_OF_EDITS = pa.schema([("image_list", pa.list_(pa.binary())), ("instruction_list", pa.list_(pa.list_(pa.string())))])

_BLAS_THREADS = "OPENBLAS_NUM_THREADS"  # of NumPy's products

T = TypeVar("T")


def build(
    directory: str | os.PathLike[str], kind: str, *, seed: int, count: int, size: int, manners: tuple[str, ...]
) -> None:
    """Writes one kind of data into ``directory``; does nothing if they are already there.

    The folder gets its name only when it is complete. Of two processes that build the same folder, one waits.

    Args:
      directory: the data set's own folder; missing or empty, or built before with the same arguments.
      kind: ``llava``, with the labelled pictures beside it; ``text_to_image`` or ``editing``.
      seed: of all samples.
      count: number of samples.
      size: of the pictures in pixels.
      manners: of the prompts, of ``scene.MANNERS``.

    Raises:
      UserError: the folder holds something else, or cannot be written.
    """
    _build(Path(directory), kind, seed, Plans("train", size, manners), count, _WRITERS[kind])


def build_own(
    directory: str | os.PathLike[str],
    pictures: str | os.PathLike[str],
    *,
    seed: int,
    count: int,
    size: int,
    manners: tuple[str, ...],
) -> None:
    """Writes what is learned from a model's own pictures: the folders ``understanding``, of kind ``llava``, with the
    labelled pictures in it, and ``editing``; does nothing if they are already there.

    Args:
      directory: see ``build``.
      pictures: folder of the pictures of ``own.tasks``, in order, as ``irg_jax.generate --task text_to_image`` writes
        them.
      seed: of the tasks.
      count: of the tasks.
      size: see ``build``.
      manners: see ``build``.

    Raises:
      UserError: a picture is missing or of another size; the folder holds something else, or cannot be written.
    """
    write = functools.partial(_write_own, pictures=Path(pictures))
    _build(Path(directory), "own", seed, Plans("train", size, manners), count, write)


def _build(
    folder: Path, kind: str, seed: int, plans: Plans, count: int, write: Callable[[Path, int, Plans, int], None]
) -> None:
    about: dict[str, object] = {"kind": kind, "version": _VERSION, "seed": seed, "count": count, "size": plans.size}
    about["manners"] = list(plans.manners)
    with locked(folder, f"the base data of kind {kind}", wait=True, beside=True):
        if folder.exists() and any(folder.iterdir()):
            _check(folder, about)
            return
        partial = folder.parent / f".{folder.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
        try:
            partial.mkdir(parents=True)
            write(partial, seed, plans, count)
            (partial / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
            if folder.exists():
                folder.rmdir()
            partial.rename(folder)
        except OSError as error:
            raise UserError(
                f"{folder}: cannot write the base data ({error}); free the disk or choose another"
            ) from error


def _check(folder: Path, about: dict[str, object]) -> None:
    try:
        found = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != about:
        raise UserError(f"{folder}: holds {found or 'something else'}, not {about}; delete it or choose another folder")


def _write_understanding(folder: Path, seed: int, plans: Plans, count: int) -> None:
    for split, number in _LABELLED.items():
        parts = list(_in_parts(labelled_pictures, seed, dataclasses.replace(plans, split=split), number))
        pictures, labels = (np.concatenate([part[name] for part in parts]) for name in ("pictures", "labels"))
        file = folder / f"labelled_{split}.npz"
        np.savez(file, pictures=pictures, labels=labels, classes=parts[0]["classes"])
    _write_turns(folder, itertools.chain.from_iterable(_in_parts(_understanding, seed, plans, count)))


def _write_turns(folder: Path, samples: Iterable[tuple[tuple[str, ...], bytes | None]]) -> None:
    """Writes LLaVA's form: turns by a human and a model, and the picture that the first of them shows, a PNG."""
    with (folder / "samples.jsonl").open("w", encoding="utf-8") as lines:
        for index, (turns, picture) in enumerate(samples):
            record: dict[str, object] = {"id": str(index)}
            if picture is not None:
                # A thousand files in a folder, so that none of them gets large.
                name = f"pictures/{index // 1000:03d}/{index:06d}.png"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(picture)
                record["image"] = name
            speakers = itertools.cycle(("human", "gpt"))
            record["conversations"] = [{"from": who, "value": text} for who, text in zip(speakers, turns, strict=False)]
            lines.write(json.dumps(record) + "\n")


def _understanding(seed: int, plans: Plans, indices: range) -> list[tuple[tuple[str, ...], bytes | None]]:
    return [
        (turns, None if picture is None else encode_png(render(picture, plans.size)))
        for turns, picture in samples(seed, plans, indices)
    ]


def _write_captioned(folder: Path, seed: int, plans: Plans, count: int) -> None:
    schema = pa.schema([("image", pa.binary()), ("captions", pa.string())])
    _write_table(folder, _in_parts(_captioned, seed, plans, count), schema)


def _captioned(seed: int, plans: Plans, indices: range) -> list[dict]:
    return [
        {"image": encode_png(picture), "captions": json.dumps(captions)}
        for picture, captions in captioned(seed, plans, indices)
    ]


def _write_edits(folder: Path, seed: int, plans: Plans, count: int) -> None:
    _write_table(folder, _in_parts(_edits, seed, plans, count), _OF_EDITS)


def _edits(seed: int, plans: Plans, indices: range) -> list[dict]:
    return [_row(edit) for edit in edits(seed, plans, indices)]


def _row(edit: Edit) -> dict:
    return {"image_list": [encode_png(edit.before), encode_png(edit.after)], "instruction_list": [[edit.instruction]]}


def _write_own(folder: Path, seed: int, plans: Plans, count: int, pictures: Path) -> None:
    parts = list(_in_parts(functools.partial(_own, pictures), seed, plans, count))
    for name in ("understanding", "editing"):
        (folder / name).mkdir()
    _write_turns(folder / "understanding", (item.turns for part in parts for item in part))
    _write_table(folder / "editing", ([item.edit for item in part] for part in parts), _OF_EDITS)
    images, labels = (
        np.stack([getattr(item, name) for part in parts for item in part]) for name in ("picture", "labels")
    )
    np.savez(folder / "understanding" / "labelled_train.npz", pictures=images, labels=labels, classes=classes(plans))


class _Own(NamedTuple):
    """What is written of one own picture: itself and its labels, its turns with its PNG, and its row of edits."""

    picture: np.ndarray
    labels: np.ndarray
    turns: tuple[tuple[str, ...], bytes]
    edit: dict


def _own(pictures: Path, seed: int, plans: Plans, indices: range) -> list[_Own]:
    found = []
    for index, task in zip(indices, tasks(seed, plans, indices), strict=True):
        picture = _painted(pictures / f"{index:05d}" / "image.png")
        made = own_samples(task, picture, plans, index)
        row, labels = _row(made.edit), np.array(labels_of(made.seen, plans), np.int32)
        found.append(_Own(picture, labels, (made.turns, row["image_list"][0]), row))
    return found


def _painted(file: Path) -> np.ndarray:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(
            f"{file}: cannot be read ({error.strerror}); paint every text of captions.txt with irg_jax.generate first"
        ) from error
    return np.asarray(decode(content, str(file)))


def _write_table(folder: Path, parts: Iterable[list[dict]], schema: pa.Schema) -> None:
    for number, rows in enumerate(parts):
        table = pa.Table.from_pylist(rows, schema)
        pq.write_table(table, folder / f"samples-{number:05d}.parquet", row_group_size=_GROUP)


def _in_parts(make: Callable[[int, Plans, range], T], seed: int, plans: Plans, count: int) -> Iterator[T]:
    """``make`` of all indices in order, a part at a time, by a process on every core where there is work for them."""
    parts = [range(first, min(first + _ROWS, count)) for first in range(0, count, _ROWS)]
    workers = min(os.cpu_count() or 1, len(parts) // _PARTS_OF_A_PROCESS)
    of_part = functools.partial(make, seed, plans)
    if workers < 2:
        yield from map(of_part, parts)
        return
    # Spawned: jax has threads, which a fork does not survive.
    context = multiprocessing.get_context("spawn")
    with _one_blas_thread(), concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(of_part, parts)


@contextlib.contextmanager
def _one_blas_thread() -> Iterator[None]:
    """For processes that are started meanwhile: with more, they would wait for each other most of the time."""
    before = os.environ.get(_BLAS_THREADS)
    os.environ[_BLAS_THREADS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_BLAS_THREADS]
        else:
            os.environ[_BLAS_THREADS] = before


_WRITERS: dict[str, Callable[[Path, int, Plans, int], None]] = {
    "llava": _write_understanding,
    "text_to_image": _write_captioned,
    "editing": _write_edits,
}

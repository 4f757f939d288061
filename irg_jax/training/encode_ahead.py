"""Encodes the images of a data set of trajectories into posterior moments, ahead of training."""

import dataclasses
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from irg_jax.core.errors import UserError
from irg_jax.core.locks import locked
from irg_jax.core.small_files import make_folder, write_json
from irg_jax.core.storage import retry
from irg_jax.data import array_record, images
from irg_jax.data.images import ImageTransform
from irg_jax.data.index import scan
from irg_jax.data.latents import header, record
from irg_jax.data.latents.header import Header
from irg_jax.data.latents.source import WRITER_OPTIONS, file_name
from irg_jax.data.sources.trajectories import TrajectorySource
from irg_jax.data.tokenizer import Tokenizer
from irg_jax.data.trajectory import IMAGES
from irg_jax.models.vae.latents import to_unit
from irg_jax.models.vae.moments import digest
from irg_jax.sharding.activations import ROWS
from irg_jax.sharding.batches import replicate

# Batches' worth of records that are decoded before their images are put together by size. Pixels and float32 moments of
# a 1024 x 1024 image are 5 MB.
_BATCHES_AHEAD = 32


class Share(NamedTuple):
    """Which files a process writes: ``process``, ``process + processes``, … in the order of the data set."""

    process: int = 0
    processes: int = 1


class Encoder:
    """Pixels to moments, a batch of images of one size at a time, split over all devices of a mesh.

    Args:
      vae: with its weights.
      mesh: of this process's devices.
      per_device: images that a device encodes at once.

    Attributes:
      batch_size: images in a batch.
    """

    def __init__(self, vae: Any, mesh: Mesh, per_device: int):
        self._vae = replicate(vae, mesh)
        self.batch_size = per_device * mesh.size
        self._sharding = NamedSharding(mesh, P((*ROWS, "context", "tensor")))
        self._encode = jax.jit(lambda vae, pixels: vae.moments(to_unit(pixels)), out_shardings=self._sharding)

    def __call__(self, pictures: list[np.ndarray]) -> np.ndarray:
        """Moments, float32 [N, h, w, 2·channels], of up to ``batch_size`` images uint8 [height, width, 3]."""
        # The last batch is filled up, so that one program is compiled for each size.
        batch = np.zeros((self.batch_size, *pictures[0].shape), np.uint8)
        batch[: len(pictures)] = pictures
        return np.asarray(self._encode(self._vae, jax.device_put(batch, self._sharding)))[: len(pictures)]


def encode_split(
    source: TrajectorySource,
    split: str,
    out: Path,
    *,
    tokenizer: Tokenizer,
    transform: ImageTransform,
    vae: Any,
    mesh: Mesh,
    dtype: str,
    per_device: int = 1,
    share: Share = Share(),  # noqa: B008  (immutable)
) -> None:
    """Writes what is missing of the latents of a split into ``out/split``: one file for each of the data set's files.

    Args:
      source: of the split.
      split: its name.
      out: folder of the latents of all splits.
      tokenizer: whose index of the data set is used, or made.
      transform: of images for the VAE.
      vae: with its weights.
      mesh: of this process's devices.
      dtype: of the stored moments, a key of ``record.DTYPES``.
      per_device: images that a device encodes at once.
      share: which files this process writes.

    Raises:
      UserError: the folder holds other latents, cannot be written to, or a moment is too large for the dtype.
    """
    index = scan.index_trajectories(source, split, tokenizer)
    rows = index.arrays["rows"]
    about = Header(
        vae=digest(vae),
        transform=header.describe(transform),
        data=header.fingerprint(rows),
        channels=vae.config.channels,
        dtype=dtype,
        records=[file.records for file in source.files],
    )
    folder = out / split
    _claim(folder, about)
    crcs = dict(zip(rows["record"].tolist(), rows["crc"].tolist(), strict=True))
    encoder, count = Encoder(vae, mesh, per_device), len(source.files)
    mine = range(share.process, count, share.processes)
    missing = [i for i in mine if not (folder / file_name(i, count)).exists()]
    logging.info("%s: %d files, %d to write here", folder, count, len(missing))
    begins = np.cumsum([0, *about.records]).tolist()
    for done, number in enumerate(missing, start=1):
        start, path = time.monotonic(), folder / file_name(number, count)
        records = _records(source, range(begins[number], begins[number + 1]), crcs, transform, encoder, dtype)
        try:
            array_record.write(path, records, about.records[number], WRITER_OPTIONS)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error}); free the disk and give the same command") from error
        seconds = time.monotonic() - start
        left = (len(missing) - done) * seconds
        logging.info("%s: %d records in %.1f s, %.0f s left", path, about.records[number], seconds, left)


def _claim(folder: Path, about: Header) -> None:
    """Writes the header into a new folder; raises UserError if the folder holds the latents of another one."""
    make_folder(folder)
    with locked(folder, "--out", wait=True):
        path = folder / header.NAME
        if not path.exists():
            retry(lambda: write_json(path, dataclasses.asdict(about)), f"{path}: cannot be written")
        header.read(folder).check(folder, dataclasses.asdict(about), "choose another --out, or delete the folder")


def _records(
    source: TrajectorySource,
    numbers: range,
    crcs: dict[int, int],
    transform: ImageTransform,
    encoder: Encoder,
    dtype: str,
) -> Iterator[bytes]:
    """The records of a file in order.

    Which images share a batch depends on the file alone, so that a file that is written again has the same bytes.
    """
    step = _BATCHES_AHEAD * encoder.batch_size
    for first in range(numbers.start, numbers.stop, step):
        chunk = range(first, min(first + step, numbers.stop))
        by_size: dict[tuple, list[tuple[int, str, np.ndarray]]] = {}
        for number in chunk:
            for name, pixels in _pixels(source, number, crcs, transform):
                by_size.setdefault(pixels.shape, []).append((number, name, pixels))
        moments: dict[int, dict[str, np.ndarray]] = {number: {} for number in chunk}
        for shape in sorted(by_size):
            waiting = by_size.pop(shape)
            for begin in range(0, len(waiting), encoder.batch_size):
                batch = waiting[begin : begin + encoder.batch_size]
                encoded = encoder([pixels for _, _, pixels in batch])
                for (number, name, _), found in zip(batch, encoded, strict=True):
                    moments[number][name] = found
        for number in chunk:
            try:
                yield record.pack(crcs.get(number, 0), moments.pop(number), dtype)
            except OverflowError as error:
                raise UserError(
                    f"{source.where(number)}: {error}, too large for {dtype}; give --dtype float32"
                ) from error


def _pixels(
    source: TrajectorySource, number: int, crcs: dict[int, int], transform: ImageTransform
) -> Iterator[tuple[str, np.ndarray]]:
    """The images of a trajectory that can be decoded, transformed; training decides about those that cannot."""
    if number not in crcs:  # the index has named it
        return
    trajectory, crc = source.read(number)
    if crc != crcs[number]:
        raise UserError(f"{source.where(number)}: has changed since the data set was indexed; start the command again")
    for name in IMAGES:
        if content := getattr(trajectory, name):
            try:
                yield name, transform(images.decode(content, trajectory.key))
            except UserError as error:
                logging.warning("%s; it has no latents", error)

"""Random access to moments that were computed ahead, and the trajectories of a mode with them."""

from pathlib import Path
from typing import Any

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.core.storage import is_transient_or_gone, retry
from irg_jax.data import modes
from irg_jax.data.array_record import GROUPS_OF_ONE, ArrayRecords, count_records
from irg_jax.data.conversation import Conversation, Image, Record
from irg_jax.data.latents import header, record
from irg_jax.data.latents.header import Header
from irg_jax.data.modes import Mode
from irg_jax.data.sources.trajectories import ModeSource, TrajectorySource, local_folder
from irg_jax.data.trajectory import IMAGES

WRITER_OPTIONS = f"{GROUPS_OF_ONE},uncompressed"  # random bits do not compress
_AGAIN = "encode the data set again with python -m irg_jax.encode_latents"


class Latents:
    """The moments of one split; picklable, thread-safe, and read without jax.

    Args:
      folder: of the split.
      about: its header.
    """

    def __init__(self, folder: Path, about: Header):
        self.folder, self.about = folder, about
        count = len(about.records)
        self._records = ArrayRecords([(folder / file_name(i, count), n) for i, n in enumerate(about.records)])

    def __reduce__(self) -> tuple:
        return Latents, (self.folder, self.about)

    def read(self, index: int) -> tuple[int, dict[str, np.ndarray]]:
        """Of trajectory ``index``: its checksum, and by name of the image its moments, float32 [h, w, 2·channels].

        Raises:
          UserError: the record is damaged.
          StorageError: the storage went on answering with errors.
        """
        what = f"{self.folder}: latents {index}"
        try:
            content = retry(lambda: self._records[index], f"{what} cannot be read", retry_if=is_transient_or_gone)
            return record.unpack(content, self.about.channels, self.about.dtype)
        except (RuntimeError, ValueError, IndexError) as error:
            raise UserError(f"{what} are damaged ({' '.join(str(error).split())}); {_AGAIN}") from error


class ModeSourceWithLatents(ModeSource):
    """The conversations of one mode with the moments of the images that the VAE would encode; see ``ModeSource``.

    Args:
      trajectories: all of them.
      mode: of ``modes.learning_mode``.
      latents: of the same split.
    """

    def __init__(self, trajectories: TrajectorySource, mode: Mode, latents: Latents):
        super().__init__(trajectories, mode)
        self.latents = latents

    def read(self, index: int) -> Record:
        """The mode's conversation of a record that has the fields.

        Raises:
          UserError: the record is damaged, or its latents are missing or of another record.
          StorageError: the storage went on answering with errors.
        """
        trajectory, crc = self.trajectories.read(index)
        conversation = modes.conversation(trajectory, self.mode)
        if not any(part.need_loss or part.need_vae for part in self.mode if part.field in IMAGES):
            return Record((conversation,), crc)
        found, moments = self.latents.read(index)
        if found != crc:
            raise UserError(f"record {trajectory.key}: has changed since its images were encoded; {_AGAIN}")
        parts: list[Any] = []
        for planned, part in zip(self.mode, conversation.parts, strict=True):
            if isinstance(part, Image) and (part.need_loss or part.need_vae):
                if planned.field not in moments:
                    raise UserError(
                        f"record {trajectory.key}: {self.latents.folder} has no latents of {planned.field}, which "
                        f"could not be decoded; repair the record and {_AGAIN}"
                    )
                part = Image(part.content, part.need_loss, part.need_vae, part.need_vit, moments[planned.field])
            parts.append(part)
        return Record((Conversation(conversation.key, tuple(parts)),), crc)


def file_name(number: int, count: int) -> str:
    """The name of a file of latents, one for each file of the data set."""
    return f"{number:05d}-of-{count:05d}.array_record"


def open_latents(directory: str, split: str, wanted: dict[str, Any]) -> Latents:
    """Opens the latents of a split.

    Args:
      directory: that ``irg_jax.encode_latents`` wrote.
      split: a split's name.
      wanted: what training needs, by field of ``Header``.

    Raises:
      UserError: they are missing, not complete, or of another VAE, image transform or data set.
    """
    folder = local_folder(directory) / split
    about = header.read(folder)
    about.check(folder, wanted, f"give other latents, or {_AGAIN}")
    for number, records in enumerate(about.records):
        path = folder / file_name(number, len(about.records))
        if not path.is_file():
            raise UserError(f"{path}: missing; the same irg_jax.encode_latents again writes what is not there")
        found = count_records(path)
        if found != records:
            raise UserError(f"{path}: truncated, {found} of {records} records can be read; remove it and {_AGAIN}")
    return Latents(folder, about)

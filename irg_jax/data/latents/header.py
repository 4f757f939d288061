"""``latents.json``: of which images, transform and VAE the moments in a folder are."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.core.small_files import read_text
from irg_jax.data.images import ImageTransform

NAME = "latents.json"
_WHAT = {
    "version": "another version of irg_jax",
    "vae": "another VAE",
    "transform": "another image transform (data.vae_image, data.resize, the model's strides)",
    "data": "another data set",
    "channels": "another VAE",
    "dtype": "another dtype",
    "records": "another data set",
}


@dataclasses.dataclass(frozen=True)
class Header:
    """What moments depend on, and how they are stored.

    Attributes:
      vae: digest of the VAE's encoder.
      transform: fields of the image transform by name.
      data: fingerprint of the trajectories, see ``fingerprint``.
      channels: of a latent; a record holds twice as many.
      dtype: of the values, a key of ``record.DTYPES``.
      records: in each file.
      version: of the format.
    """

    vae: str
    transform: dict[str, Any]
    data: str
    channels: int
    dtype: str
    records: list[int]
    version: int = 1

    @property
    def digest(self) -> str:
        """Of all fields: two folders with the same one hold the same moments."""
        return hashlib.blake2b(json.dumps(dataclasses.asdict(self), sort_keys=True).encode(), digest_size=8).hexdigest()

    def check(self, folder: Path, wanted: dict[str, Any], advice: str) -> None:
        """Raises a UserError that names the first of ``wanted``, values by field, that differs here."""
        for name, value in wanted.items():
            found = getattr(self, name)
            if found != value:
                raise UserError(f"{folder / NAME}: is of {_WHAT[name]} ({name} {found}, not {value}); {advice}")


def read(folder: Path) -> Header:
    """The header in a folder.

    Raises:
      UserError: it is missing or damaged.
    """
    path = folder / NAME
    try:
        return Header(**json.loads(read_text(path)))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; write the latents with python -m irg_jax.encode_latents") from None
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete the folder and encode again") from error


def describe(transform: ImageTransform) -> dict[str, Any]:
    """The ``transform`` of a header."""
    return dataclasses.asdict(transform)


def fingerprint(rows: np.ndarray) -> str:
    """The ``data`` of a header, from an index of ``trajectories.DTYPE``: which records there are, and their checksums.

    It does not depend on the tokenizer that the index was made with.
    """
    found = hashlib.blake2b(digest_size=8)
    for column in ("record", "crc"):
        found.update(np.ascontiguousarray(rows[column]).astype("<i8").tobytes())
    return f"{len(rows)} records, {found.hexdigest()}"

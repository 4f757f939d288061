"""Pictures in a folder under the hash of their bytes."""

import dataclasses
import hashlib
import threading
from pathlib import Path
from typing import Protocol

from irg_jax.core.errors import UserError
from irg_jax.core.small_files import write_bytes
from irg_jax.core.storage import retry
from irg_jax.data import images

FOLDER = "images"
_LOCKS = 256
_MEDIA_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "bin": "application/octet-stream"}


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture, or bytes that should have been one, in a ``PictureFolder``.

    Attributes:
      digest: SHA-256 of its bytes, hexadecimal.
      file: its path below the output folder, ``images/DIGEST.png``; ``.bin`` if it is no PNG, JPEG or WebP.
      width: in pixels, 0 where it cannot be decoded; likewise ``height``.
      height: see ``width``.
      fault: why it cannot be used; empty for a picture.
    """

    digest: str
    file: str
    width: int
    height: int
    fault: str

    @property
    def media_type(self) -> str:
        """As in HTTP."""
        return _MEDIA_TYPES[self.file.rpartition(".")[2]]


class PictureStore(Protocol):
    """Where the pictures of requests and answers are."""

    def put(self, content: bytes) -> Picture:
        """Looks at a picture and keeps it."""

    def read(self, picture: Picture) -> bytes:
        """The bytes of a picture."""


class PictureFolder:
    """``OUT/images``: each picture as it came, once. May be used by several threads."""

    def __init__(self, out: Path):
        self._out = out
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def put(self, content: bytes) -> Picture:
        """Looks at a picture and keeps it.

        Raises:
          UserError: the disk is full or a permission is missing.
          StorageError: the storage went on answering with errors.
        """
        digest, kind = hashlib.sha256(content).hexdigest(), kind_of(content)
        width, height, fault = 0, 0, ""
        try:
            width, height = images.decode(content, digest[:16]).size
        except UserError as error:
            fault = images.bare_reason(error)
        if not fault and kind == "bin":
            fault = "is a picture, but no PNG, JPEG or WebP; convert it"
        picture = Picture(digest, f"{FOLDER}/{digest}.{kind}", width, height, fault)
        path = self._out / picture.file
        # One thread at a time writes the same bytes: a file that is being written has one name in a process.
        with self._locks[int(digest[:8], 16) % _LOCKS]:
            # A file has its name only when it is complete.
            if not path.exists():
                retry(lambda: self._write(path, content), f"{path}: cannot be written")
        return picture

    def read(self, picture: Picture) -> bytes:
        """The bytes of a picture. Raises UserError where the file is gone."""
        path = self._out / picture.file
        try:
            return retry(path.read_bytes, f"{path}: cannot be read")
        except FileNotFoundError as error:
            raise UserError(f"{path}: is gone, but journal.jsonl names it; put it back, or use a new --out") from error

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)


def kind_of(content: bytes) -> str:
    """The extension of an encoded picture: ``png``, ``jpg`` or ``webp``; ``bin`` for anything else."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpg"
    return "webp" if content[:4] == b"RIFF" and content[8:12] == b"WEBP" else "bin"

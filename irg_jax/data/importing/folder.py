"""``folder:DIR``: images with a text of the same name beside them, ``cat.png`` with ``cat.txt`` or ``cat.json``.

The image becomes image 2. A ``.txt`` holds the prompt; a ``.json`` holds an object as a line of ``records`` does,
without ``image2``. There may be both, if one of them has the prompt. Folders in the folder count too, hidden ones do
not.
"""

import os
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.core.small_files import is_hidden
from irg_jax.core.storage import as_path, is_url
from irg_jax.data.importing import check
from irg_jax.data.importing.row import Rejected, Row
from irg_jax.data.importing.values import make_row, note_format, parse_object, read_file

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_PIECE_FILES = 500


class Folder:
    """Images of a folder by name, see ``Importer``; a row's file is the image, and it has no number there.

    Args:
      directory: the folder.

    Raises:
      UserError: no such folder, no image in it, or a URL.
    """

    merges = False

    def __init__(self, directory: str):
        if is_url(directory):
            raise UserError(f"{directory}: is a URL; mount the bucket or copy the folder")
        self._folder = as_path(directory)
        if not self._folder.is_dir():
            raise UserError(f"{directory}: no such folder")
        files = sorted(_files(str(self._folder)))
        images = [name for name, _, _ in files if name.lower().endswith(ENDINGS)]
        if not images:
            raise UserError(f"{directory}: has no images ({', '.join(ENDINGS)})")
        self._texts = {name for name, _, _ in files if name.endswith((".txt", ".json"))}
        self._identity = ["folder", *files]
        self.pieces = [images[i : i + _PIECE_FILES] for i in range(0, len(images), _PIECE_FILES)]

    def identity(self) -> Any:
        """See ``Importer``."""
        return self._identity

    def rows(self, piece: int, wanted: Collection[int] | None = None) -> Iterator[tuple[int, Row | Rejected]]:
        """See ``Importer``."""
        for number, name in enumerate(self.pieces[piece]):
            if wanted is not None and number not in wanted:
                continue
            try:
                yield number, self._row(name)
            except UserError as error:
                yield number, self.rejected(piece, number, check.reason(error))

    def rejected(self, piece: int, number: int, reason: str) -> Rejected:
        """See ``Importer``."""
        return Rejected(self.pieces[piece][number], None, reason)

    def _row(self, name: str) -> Row:
        stem = str(PurePosixPath(name).with_suffix(""))
        values: dict[str, Any] = {}
        if f"{stem}.json" in self._texts:
            path = self._folder / f"{stem}.json"
            values = parse_object(read_file(path, path.name), path.name)
        if "image2" in values:
            raise UserError(f"{stem}.json has image2, which is the image beside it")
        if f"{stem}.txt" in self._texts:
            if "prompt" in values:
                raise UserError(f"both {stem}.json and {stem}.txt have a prompt")
            values["prompt"] = _text(read_file(self._folder / f"{stem}.txt", f"{stem}.txt"), f"{stem}.txt")
        if not values:
            raise UserError("has no .txt or .json of the same name beside it")
        content = read_file(self._folder / name, "image2")
        row = make_row({**values, "image2": content}, name, (self._folder / name).parent)
        noted = list(row.noted)
        note_format(name, content, noted)
        row.noted = tuple(noted)
        return row


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").strip()
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 ({error})") from error


def _files(folder: str) -> Iterator[tuple[str, int, int]]:
    """Path relative to the folder, bytes and time of the last change of every file that is not hidden."""
    seen = set()
    for at, folders, names in os.walk(folder, followlinks=True):
        if os.path.realpath(at) in seen:  # a link to a folder that it is in
            folders.clear()
            continue
        seen.add(os.path.realpath(at))
        folders[:] = [name for name in folders if not is_hidden(name)]
        for name in names:
            path = os.path.join(at, name)
            if not is_hidden(name) and os.path.isfile(path):
                status = os.stat(path)
                yield os.path.relpath(path, folder).replace(os.sep, "/"), status.st_size, status.st_mtime_ns

"""Labelled pictures: one .npz file of small pictures, each with the same number of labels."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.core.storage import AnyPath, as_path, retry, storage_reason

_FORM = "write it with np.savez: pictures uint8 [N, S, S, 3], labels int32 [N, H], classes int32 [H]"
_KEYS = {"pictures": (np.uint8, 4), "labels": (np.int32, 2), "classes": (np.int32, 1)}  # dtype, dimensions


class LabelledPictures(NamedTuple):
    """A data set of labelled pictures.

    Attributes:
      pictures: uint8 [N, S, S, 3].
      labels: int32 [N, H], each at least 0 and below its label's number of classes.
      classes: the number of classes of each label, int32 [H].
    """

    pictures: np.ndarray
    labels: np.ndarray
    classes: np.ndarray


def read(path: str | AnyPath) -> LabelledPictures:
    """Reads and checks a data set of labelled pictures.

    Args:
      path: the .npz file, or its URL.

    Raises:
      UserError: a file that is missing or no .npz; a key that is missing or of another dtype or shape; a label that is
        out of range, by its row and column.
      StorageError: the storage went on answering with errors.
    """
    file = as_path(path)
    try:
        content = retry(file.read_bytes, f"{file}: cannot be read")
    except OSError as error:
        raise UserError(
            f"{file}: cannot be read ({storage_reason(error)}); give an .npz of labelled pictures"
        ) from error
    found = LabelledPictures(**_arrays(file, content))
    _check(file, found)
    return found


def _arrays(file: AnyPath, content: bytes) -> dict[str, np.ndarray]:
    try:
        archive = np.load(io.BytesIO(content), allow_pickle=False)
        saved = {key: archive[key] for key in _KEYS if key in archive} if isinstance(archive, Mapping) else None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{file}: is no .npz file, or a damaged one ({error}); {_FORM}") from error
    if saved is None:
        raise UserError(f"{file}: is one array, not an .npz file; {_FORM}")
    for key, (dtype, dimensions) in _KEYS.items():
        if key not in saved:
            raise UserError(f"{file}: has no {key}; {_FORM}")
        array = saved[key]
        if array.dtype != dtype or array.ndim != dimensions:
            raise UserError(f"{file}: {key} is {array.dtype} {list(array.shape)}; {_FORM}")
    return saved


def _check(file: AnyPath, found: LabelledPictures) -> None:
    pictures, labels, classes = found
    count, height, width, channels = pictures.shape
    if not count or not height or height != width or channels != 3:
        raise UserError(f"{file}: pictures are {list(pictures.shape)}; {_FORM}")
    if labels.shape != (count, len(classes)) or not len(classes):
        shapes = f"{list(labels.shape)} for {count} pictures and {len(classes)} numbers of classes"
        raise UserError(f"{file}: labels are {shapes}; {_FORM}")
    wrong = np.argwhere((labels < 0) | (labels >= classes))
    if len(wrong):
        row, column = wrong[0]
        raise UserError(
            f"{file}: labels[{row}, {column}] is {labels[row, column]}, and label {column} has {classes[column]} "
            "classes, counted from 0; correct the label, or raise its number in classes"
        )

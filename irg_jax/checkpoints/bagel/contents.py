"""The files of a published folder that go along with its weights, and those that are left out.

Other weights and optimizer states stay behind wherever files go from folder to folder: beside trained weights they
would be those from before the training. ``contents`` is the one place that decides.
"""

import json
import logging
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from irg_jax.core import small_files
from irg_jax.core.errors import UserError
from irg_jax.core.storage import AnyPath, is_url, retry, storage_reason

VAE_FILE = "ae.safetensors"
# Our own files in the ``bagel`` folder beside a checkpoint: headers of the converted files, and position tables that
# differ from the formula in their last bits.
LAYOUT, KEPT_TABLES = "irg_layout.json", "irg_position_tables.safetensors"
INDEX = ".safetensors.index.json"

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_WEIGHTS = (
    *(
        "safetensors",
        *(ending[1:] for ending in PICKLES),
        "gguf",
        "ggml",
        "h5",
        "keras",
        "msgpack",
        "onnx",
        "onnx_data",
    ),
    *("npz", "npy", "distcp", "ot", "tflite", r"data-\d+-of-\d+"),
)
# Copies that people and tools make are weights too, and so is the index of shards.
_COPIES = r"(\.(bak|backup|old|orig|tmp|part|partial|incomplete|aria2|\d+)|~)*"
_IS_WEIGHTS = re.compile(rf".*\.({'|'.join(_WEIGHTS)}){_COPIES}(\.index(\.\w+)?\.json{_COPIES})?", re.IGNORECASE)
# Files that only the folder of a checkpoint has: Orbax, torch.distributed.
_CHECKPOINT_FILES = ("_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt", ".metadata")


class AssetFile(NamedTuple):
    """A file that goes along.

    Attributes:
      path: the file.
      name: its path from the folder.
      size: in bytes.
    """

    path: AnyPath
    name: str
    size: int


class LeftOut(NamedTuple):
    """A file or folder that does not go along.

    Attributes:
      path: the file or folder.
      name: its path from the folder.
      reason: why.
      size: in bytes, of all that is in it.
    """

    path: AnyPath
    name: str
    reason: str
    size: int

    def __str__(self) -> str:
        return f"{self.reason} ({size_text(self.size)})"


class Contents(NamedTuple):
    """What is in a folder.

    Attributes:
      files: those that go along.
      left_out: those that do not, besides the weights in use.
      problems: of files that would go along but cannot be read, by name.
    """

    files: list[AssetFile]
    left_out: list[LeftOut]
    problems: list[str]

    @property
    def size(self) -> int:
        """Bytes that are copied."""
        return sum(file.size for file in self.files)


def look(
    folder: AnyPath, weights: Collection[str], *, without: Collection[str] = (), outside: Sequence[AnyPath] = ()
) -> Contents:
    """Looks through a folder and all folders in it; reads none of the files.

    Args:
      folder: the folder.
      weights: names of its weight files in use; they are in none of the lists.
      without: more names at its top level that are in none of the lists.
      outside: folders that are no part of it although they may be inside: what is being written.

    Raises:
      UserError: the folder itself cannot be read.
    """
    found = Contents([], [], [])
    closed = {os.path.realpath(path) for path in outside if not is_url(path)}
    _look(folder, "", {*weights, *without}, weights, closed, (), found)
    return found


def copy(folder: AnyPath, contents: Contents, target: AnyPath) -> None:
    """Copies the files that go along and are not there already; logs the others if it copies any.

    Raises:
      UserError: every file that cannot be read; or one that cannot be written.
      StorageError: the storage went on answering with errors.
    """
    if contents.problems:
        raise UserError(f"{folder}: {'; '.join(contents.problems)}")
    small_files.make_folder(target)
    missing = [file for file in contents.files if not small_files.is_there(target / file.name)]
    for file in missing:
        if "/" in file.name:
            small_files.make_folder((target / file.name).parent)
        small_files.copy_file(file.path, target / file.name)
    for left in contents.left_out if missing else ():
        logging.info("%s: not copied, %s", left.path, left)


def published_weights(folder: AnyPath) -> list[str]:
    """Names of the weight files whose place the checkpoint beside this ``bagel`` folder takes."""
    return list(read_layout(folder)) or ["ema.safetensors"]


def read_layout(folder: AnyPath) -> dict[str, str]:
    """The headers of the converted weight files by name, empty if the folder has none. Raises UserError if damaged."""
    path = folder / LAYOUT
    if not small_files.is_there(path):
        return {}
    try:
        found = json.loads(small_files.read_text(path))
        if not isinstance(found, dict) or not all(isinstance(header, str) for header in found.values()):
            raise ValueError("not a header for each file")
    except (OSError, ValueError) as error:
        reason = storage_reason(error) if isinstance(error, OSError) else error
        raise UserError(f"{path}: cannot be read ({reason}); remove it, or convert the model again") from error
    return found


def size_text(size: int) -> str:
    """A size for people to read."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"


def _look(
    folder: AnyPath,
    prefix: str,
    skipped: Collection[str],
    weights: Collection[str],
    closed: set[str],
    above: Sequence[str],
    found: Contents,
) -> None:
    """Fills ``found``; ``above`` are the real paths of the folders around this one."""
    try:
        entries = retry(lambda: sorted(folder.iterdir()), f"{folder}: cannot be read")
    except (OSError, UserError) as error:
        if not prefix:
            raise UserError(f"{folder}: cannot be read ({storage_reason(error)})") from error
        found.problems.append(f"{folder}: cannot be read ({storage_reason(error.__cause__ or error)})")
        return
    real = str(folder) if is_url(folder) else os.path.realpath(folder)
    for path in entries:
        name = prefix + path.name
        if not prefix and path.name in skipped:
            continue
        is_folder = path.is_dir() if is_url(path) else os.path.isdir(path)
        reason = _reason(path, name, weights, is_folder)
        if reason:
            found.left_out.append(LeftOut(path, name, reason, _total_size(path)))
        elif not is_folder:
            problem, size = _try_to_open(path)
            if problem:
                found.problems.append(f"{path}: cannot be read ({problem}); repair or remove it")
            else:
                found.files.append(AssetFile(path, name, size))
        elif not is_url(path) and os.path.realpath(path) in closed:
            continue
        elif not is_url(path) and os.path.realpath(path) in (*above, real):
            found.problems.append(f"{path}: is a link to a folder around it; remove it")
        else:
            _look(path, f"{name}/", skipped, weights, closed, (*above, real), found)


def _reason(path: AnyPath, name: str, weights: Collection[str], is_folder: bool) -> str:
    """Why a file or folder is left out; empty if it goes along."""
    base, top = path.name, "/" not in name
    if is_folder:
        if base.startswith("."):
            return "it is hidden"
        if any(os.path.lexists(path / file) for file in _CHECKPOINT_FILES if not is_url(path)):
            return "it is a checkpoint"
        return ""
    if base.startswith("._"):
        return "it is hidden"
    if top and base in (VAE_FILE, KEPT_TABLES):
        return ""
    if top and base.endswith(INDEX) and _is_index_of(path, weights):
        return ""
    if _IS_WEIGHTS.fullmatch(base):
        in_use = ", ".join(sorted(weights))
        return f"the weights are those of {in_use}" if in_use else "it holds other weights"
    return ""


def _is_index_of(path: AnyPath, weights: Collection[str]) -> bool:
    """Whether an index leads to the weights in use, and to nothing else but the VAE."""
    try:
        files = set(json.loads(small_files.read_text(path))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return bool(files & set(weights)) and files <= {*weights, VAE_FILE}


def _try_to_open(path: AnyPath) -> tuple[str, int]:
    """Why a file cannot be read, or nothing; and its size."""
    try:
        if is_url(path):
            return "", path.stat().length  # type: ignore[union-attr]
        if not os.path.isfile(path) and os.path.exists(path):
            return "not a regular file", 0
        with open(path, "rb") as file:
            return "", os.fstat(file.fileno()).st_size
    except OSError as error:
        return storage_reason(error), 0


def _total_size(path: AnyPath) -> int:
    return sum(_sizes(path))


def _sizes(path: AnyPath) -> Iterator[int]:
    if is_url(path):
        yield 0 if path.is_dir() else path.stat().length  # type: ignore[union-attr]
    elif os.path.isfile(path):
        yield os.path.getsize(path)
    for folder, _, files in os.walk(path) if isinstance(path, Path) else ():
        for file in files:
            if os.path.isfile(os.path.join(folder, file)):
                yield os.path.getsize(os.path.join(folder, file))

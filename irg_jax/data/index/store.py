"""Index files: made once per data set and tokenizer, by one process, and memory-mapped from then on."""

import dataclasses
import hashlib
import json
import logging
import os
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.core.locks import locked
from irg_jax.core.outputs import check_output_folder
from irg_jax.core.small_files import is_there, read_text
from irg_jax.core.storage import AnyPath, as_path, is_url, storage_reason
from irg_jax.data import modes
from irg_jax.data.conversation import SourceFile
from irg_jax.data.tokenizer import FILES, Tokenizer

VERSION = 1
FOLDER = ".index"  # in the data set's folder
REJECTED = "rejected.jsonl"  # in an index: the records that are not in it
_HEADER = "index.json"


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A record that cannot be used.

    Attributes:
      index: in its source.
      key: names it.
      reason: what is wrong with it, as a whole sentence.
    """

    index: int
    key: str
    reason: str


class StoredIndex(NamedTuple):
    """An index as it was read.

    Attributes:
      folder: that it is in.
      arrays: by name, memory-mapped.
      rejected: the records that are not in it.
    """

    folder: Path
    arrays: Mapping[str, np.ndarray]
    rejected: list[Rejected]


def open_or_make(
    directory: AnyPath,
    name: str,
    files: Sequence[SourceFile],
    kind: str,
    tokenizer: Tokenizer,
    make: Callable[[], tuple[Mapping[str, np.ndarray], list[Rejected]]],
) -> StoredIndex:
    """The index of a source; if it is not there yet, one process makes it while others wait.

    It lies in ``.index`` in the data set's folder, or in ``~/.cache/irg_jax`` where that cannot be written to. Its name
    hashes all that it depends on, so that other files or another tokenizer get one of their own.

    Args:
      directory: the data set's folder or URL.
      name: of the source in it, such as a mode or a split.
      files: of the source.
      kind: of the source.
      tokenizer: that counts the tokens.
      make: reads all records; returns arrays by name, and the records that cannot be used.

    Raises:
      UserError: neither folder can be written to.
    """
    folder_name = f"{name}-v{VERSION}-{_digest(files, kind, tokenizer)}"
    places = [_cache(directory)] if is_url(directory) else [Path(directory) / FOLDER, _cache(directory)]
    for place in places:
        if is_there(place / folder_name / _HEADER):
            return _read(place / folder_name)
    writable = [place for place in places if _can_write(place)]
    if not writable:
        raise UserError(f"{places[0]}: an index can be written neither there nor to {places[-1]}; make one writable")
    place = writable[0]
    with locked(place, f"the index of {directory}", wait=True):
        if not is_there(place / folder_name / _HEADER):
            arrays, rejected = make()
            _write(place, folder_name, arrays, rejected)
    return _read(place / folder_name)


def _digest(files: Sequence[SourceFile], kind: str, tokenizer: Tokenizer) -> str:
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr([VERSION, kind, [tuple(file) for file in files], modes.QUESTIONS, modes.CONSTANTS]).encode())
    for name in FILES:
        if is_there(tokenizer.directory / name):
            content = as_path(tokenizer.directory / name).read_bytes()
            digest.update(name.encode() + len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def _cache(directory: AnyPath) -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = hashlib.blake2b(os.fspath(directory).encode(), digest_size=8).hexdigest()
    return base / "irg_jax" / "index" / place


def _can_write(place: Path) -> bool:
    try:
        check_output_folder(place, "")
    except UserError:
        return False
    return True


def _write(place: Path, name: str, arrays: Mapping[str, np.ndarray], rejected: Sequence[Rejected]) -> None:
    # Of this process alone: where a mount has no locks, another machine may be making the same index.
    partial = place / f".{name}.{socket.gethostname()}.{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        for array_name, array in arrays.items():
            with open(partial / f"{array_name}.npy", "wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
        listed = sorted(rejected, key=lambda record: record.index)
        lines = [json.dumps(dataclasses.asdict(record), ensure_ascii=False) for record in listed]
        (partial / REJECTED).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        header = {"arrays": sorted(arrays)}
        (partial / _HEADER).write_text(json.dumps(header), encoding="utf-8")
        os.rename(partial, place / name)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        if is_there(place / name / _HEADER):  # made meanwhile by another machine
            return
        raise UserError(
            f"{place / name}: the index cannot be written ({storage_reason(error)}); free the disk"
        ) from error
    logging.info("the index is in %s", place / name)


def _read(folder: Path) -> StoredIndex:
    try:
        header: dict[str, Any] = json.loads(read_text(folder / _HEADER))
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in header["arrays"]}
        rejected = [Rejected(**json.loads(line)) for line in read_text(folder / REJECTED).split("\n") if line]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: the index cannot be read ({error}); remove the folder to make it anew") from error
    return StoredIndex(folder, arrays, rejected)

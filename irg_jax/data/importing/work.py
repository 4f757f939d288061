"""The work of a build: many independent pieces, done one after the other here or by Apache Beam's workers anywhere.

Everything that a piece gives is a file in the build's folder, which all workers see. So a build that was killed goes on
with the pieces that are missing, and nothing but numbers goes through Beam.
"""

import dataclasses
import functools
import logging
import os
import pickle
import shlex
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from irg_jax.core.errors import StorageError, UserError
from irg_jax.core.small_files import write_bytes
from irg_jax.core.storage import is_storage_error, storage_reason
from irg_jax.data.importing import scan, write
from irg_jax.data.importing.row import Importer

IMPORTER = "importer.pickle"
_ERRORS = {kind.__name__: kind for kind in (write.ChangedError, UserError, StorageError, OSError)}  # the narrow first
_REPORT_EVERY = 30.0  # seconds

Work = Callable[[Path, int], None]


@dataclasses.dataclass(frozen=True)
class Beam:
    """How Apache Beam runs: local processes, and options as on the command line of any Beam program."""

    workers: int = 0
    options: str = ""


def scan_piece(folder: Path, number: int, *, max_text: int) -> None:
    """Scans a piece of the input into a file."""
    write_bytes(scan_file(folder, number), scan.dump(scan.scan(_importer(folder), number, max_text)))


def write_shard(folder: Path, number: int, *, defaults: write.Defaults) -> None:
    """Writes a shard of the plan."""
    shard = write.load(plan_file(folder, number).read_bytes())
    write.write_shard(shard_file(folder, number), _importer(folder), shard, defaults)


def scan_file(folder: Path, number: int) -> Path:
    """Where the scan of a piece is."""
    return folder / "scans" / f"{number:06d}.npz"


def plan_file(folder: Path, number: int) -> Path:
    """Where the plan of a shard is."""
    return folder / "plan" / f"{number:06d}.npz"


def shard_file(folder: Path, number: int) -> Path:
    """Where a shard is."""
    return folder / "shards" / f"{number:06d}.array_record"


def run(work: Work, folder: Path, numbers: Iterable[int], what: str, beam: Beam | None) -> None:
    """Does ``work(folder, number)`` for all of these numbers, in any order.

    Args:
      work: picklable; raises UserError, StorageError or OSError.
      folder: of the build.
      numbers: of what is not there yet.
      what: it is, for the log.
      beam: how Beam does it; here, one after the other, if None.

    Raises:
      UserError: a piece of the work raised it, or Beam is not installed; likewise StorageError and OSError.
    """
    left = list(numbers)
    if not left:
        return
    logging.info("%s: %d to do", what, len(left))
    if beam is not None:
        _run_beam(work, folder, left, beam)
        return
    reported = time.monotonic()
    for done, number in enumerate(left):
        if time.monotonic() - reported > _REPORT_EVERY:
            logging.info("%s: %d of %d done", what, done, len(left))
            reported = time.monotonic()
        work(folder, number)


def beam_options(beam: Beam) -> list[str]:
    """The options of Beam's command line: of its local runner with processes unless ``--runner`` is given."""
    options = shlex.split(beam.options)
    if any(option.partition("=")[0] == "--runner" for option in options):
        return options
    local = ["--runner=DirectRunner", "--direct_running_mode=multi_processing"]
    return [*local, f"--direct_num_workers={beam.workers}", "--default_sdk_harness_log_level=ERROR", *options]


def _run_beam(work: Work, folder: Path, numbers: list[int], beam: Beam) -> None:
    try:
        import apache_beam  # noqa: PLC0415  (an extra)
        from apache_beam.options.pipeline_options import PipelineOptions  # noqa: PLC0415
    except ImportError as error:
        raise UserError("--beam_workers: Beam is missing; pip install 'irg-jax[beam]'") from error
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    errors = folder / "errors"
    errors.mkdir(exist_ok=True)
    for old in errors.iterdir():
        old.unlink()
    try:
        with apache_beam.Pipeline(options=PipelineOptions(beam_options(beam))) as pipeline:
            (
                pipeline
                | apache_beam.Create(numbers)
                | apache_beam.Reshuffle()
                | apache_beam.Map(functools.partial(_work_or_tell, work, folder))
            )
    except Exception as error:
        # On a full disk a worker cannot tell of it in a file either.
        if not is_storage_error(error):
            raise
        raise OSError(storage_reason(error)) from error
    for file in sorted(errors.iterdir()):
        kind, _, text = file.read_text(encoding="utf-8").partition(" ")
        raise _ERRORS[kind](text)


def _work_or_tell(work: Work, folder: Path, number: int) -> None:
    """Does the work; an error that a user is meant to read goes through a file, because Beam would bury it."""
    try:
        work(folder, number)
    except (UserError, StorageError, OSError) as error:
        kind = next(name for name, kind in _ERRORS.items() if isinstance(error, kind))
        write_bytes(folder / "errors" / f"{number:06d}.txt", f"{kind} {error}".encode("utf-8", "replace"))


def save_importer(folder: Path, importer: Importer) -> None:
    """Writes the importer where ``work`` finds it."""
    write_bytes(folder / IMPORTER, pickle.dumps(importer))


def _importer(folder: Path) -> Importer:
    path = folder / IMPORTER
    return _load(path, os.stat(path).st_mtime_ns)


@functools.lru_cache(1)
def _load(path: Path, changed: int) -> Importer:
    del changed  # so that a later build in the same folder has its own
    return pickle.loads(path.read_bytes())

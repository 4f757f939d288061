"""Builds a data set of trajectories: scan, plan, write; each stage goes on where a killed build stopped."""

import dataclasses
import functools
import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

from irg_jax.core.errors import UserError
from irg_jax.core.locks import locked
from irg_jax.core.small_files import write_bytes, write_json
from irg_jax.core.storage import is_url, retry, storage_reason
from irg_jax.data.importing import plan, scan, work, write
from irg_jax.data.importing.kinds import open_importer
from irg_jax.data.importing.row import Importer, Rejected
from irg_jax.data.importing.tfds_irgl import finish

BUILD_FILE = "build.json"
REJECTED_FILE = "rejected.jsonl"
_VERSION = 1  # of how records are made: with another one, a data set is built anew


@dataclasses.dataclass(frozen=True)
class Options:
    """What a data set depends on beside its input.

    Attributes:
      columns: of the kind ``hf``: column by field.
      held_out: see ``plan.make_plan``.
      max_text: the most characters of a text.
      max_rejected: the largest share of rows that may be rejected.
      defaults: of the records.
    """

    columns: dict[str, str] = dataclasses.field(default_factory=dict)
    held_out: float = 0
    max_text: int = 100_000
    max_rejected: float = 0.001
    defaults: write.Defaults = write.Defaults()


def build(source: str, out: str, options: Options, beam: work.Beam | None = None) -> dict[str, Any]:
    """Builds a data set (TFDS, ArrayRecord) from another format; does nothing if it is there already.

    The folder gets its name only when it is complete. ``.NAME.partial`` beside it holds what is done until then; the
    same call goes on with it. ``rejected.jsonl`` in the folder lists every row that cannot be used.

    Args:
      source: ``KIND:PATH``, see ``kinds.open_importer``.
      out: the data set's folder, missing or empty, or built before by the same call from the same files.
      options: what the data set depends on.
      beam: how Apache Beam does the work; one piece after the other in this process if None.

    Returns:
      what ``build.json`` in the folder holds: counts of rows and records.

    Raises:
      UserError: another build writes there, the folder holds something else, the input cannot be read, the disk is
        full, or more rows than ``max_rejected`` were rejected: ``OUT.rejected.jsonl`` then lists them.
      StorageError: the storage went on answering with errors.
    """
    if is_url(out):
        raise UserError(f"--out: {out} is a URL, to which ArrayRecord files cannot be written; mount the bucket")
    folder = Path(os.path.abspath(out))
    importer = open_importer(source, options.columns)
    identity = _identity(importer, options)
    try:
        with locked(folder, "--out", beside=True):
            if found := _built(folder, identity):
                shutil.rmtree(_partial(folder), ignore_errors=True)  # left by a process that was killed at the end
                return found
            try:
                return retry(lambda: _build(folder, importer, identity, options, beam), f"{folder}: cannot be written")
            except write.ChangedError:
                shutil.rmtree(_partial(folder), ignore_errors=True)
                raise
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({storage_reason(error)}); free the disk or choose another"
        ) from error


def _identity(importer: Importer, options: Options) -> str:
    values = [_VERSION, importer.identity(), dataclasses.asdict(dataclasses.replace(options, max_rejected=0))]
    return _hash(values)


def _hash(values: Any) -> str:
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=16).hexdigest()


def _built(folder: Path, identity: str) -> dict[str, Any] | None:
    """What the folder's build.json holds; None if there is no data set; UserError if there is anything else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        found = json.loads((folder / BUILD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"--out: {folder} holds something else than a data set; choose another folder") from None
    if found.get("identity") != identity:
        raise UserError(
            f"--out: {folder} was built from other files, or with other flags; delete it or choose another folder"
        )
    logging.info("%s: is built already", folder)
    return found


def _build(folder: Path, importer: Importer, identity: str, options: Options, beam: work.Beam | None) -> dict[str, Any]:
    everything = _partial(folder)
    # Named after what is done in it: another build takes nothing from it, and its workers, if some are left, write
    # nothing into another one.
    partial = everything / _hash([identity, importer.pieces, plan.SHARD_BYTES])
    for name in ("scans", "plan", "shards", "data"):
        (partial / name).mkdir(parents=True, exist_ok=True)
    work.save_importer(partial, importer)
    scan_piece = functools.partial(work.scan_piece, max_text=options.max_text)
    pieces = range(len(importer.pieces))
    missing = [i for i in pieces if not work.scan_file(partial, i).exists()]
    work.run(scan_piece, partial, missing, "pieces to read and check", beam)
    scans = [scan.load(work.scan_file(partial, i).read_bytes()) for i in pieces]
    planned = plan.make_plan(scans, importer.merges, options.held_out, importer.rejected)
    _refuse_too_many(folder, planned, options.max_rejected)
    shards = [shard for split in planned.shards.values() for shard in split]
    report = _report(planned, identity)
    if not (partial / "data" / BUILD_FILE).exists():
        for i, shard in enumerate(shards):
            write_bytes(work.plan_file(partial, i), write.dump(shard))
        write_shard = functools.partial(work.write_shard, defaults=options.defaults)
        missing = [i for i in range(len(shards)) if not work.shard_file(partial, i).exists()]
        work.run(write_shard, partial, missing, "shards to write", beam)
        # From here on the shards are moved: what is written first says so.
        write_bytes(partial / "data" / REJECTED_FILE, _lines(planned.rejected))
        write_json(partial / "data" / BUILD_FILE, report)
    finish(partial / "data", _files(partial, planned))
    if folder.exists():
        folder.rmdir()  # it is empty
    os.rename(partial / "data", folder)
    shutil.rmtree(everything, ignore_errors=True)
    _list_beside(folder).unlink(missing_ok=True)  # of an earlier try that was refused
    return report


def _files(partial: Path, planned: plan.Plan) -> dict[str, list[tuple[Path, int]]]:
    numbers = iter(range(sum(map(len, planned.shards.values()))))
    return {
        split: [(work.shard_file(partial, next(numbers)), len(shard.ends)) for shard in shards]
        for split, shards in planned.shards.items()
    }


def _report(planned: plan.Plan, identity: str) -> dict[str, Any]:
    return {
        "identity": identity,
        "rows": planned.rows,
        "rejected": sum(one.rows for one in planned.rejected),
        "noted": dict(sorted(planned.noted.items())),
        "records": {split: sum(len(shard.ends) for shard in shards) for split, shards in planned.shards.items()},
    }


def _refuse_too_many(folder: Path, planned: plan.Plan, max_rejected: float) -> None:
    count = sum(one.rows for one in planned.rejected)
    if count <= max_rejected * planned.rows:
        return
    path = _list_beside(folder)
    write_bytes(path, _lines(planned.rejected))
    first = planned.rejected[0]
    where = first.file if first.row is None else f"{first.file} row {first.row}"
    raise UserError(
        f"{count} of {planned.rows} rows cannot be used, more than --max_rejected {max_rejected:g}; {path} lists them, "
        f"the first: {where}: {first.reason}"
    )


def _partial(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.partial")


def _list_beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.{REJECTED_FILE}")


def _lines(rejected: list[Rejected]) -> bytes:
    lines = []
    for one in rejected:
        values = {name: value for name, value in one._asdict().items() if name != "rows" or value != 1}
        lines.append(json.dumps(values, ensure_ascii=False) + "\n")
    # A name that is no UTF-8 has lone surrogates, which this writes as JSON escapes.
    return "".join(lines).encode("utf-8", "backslashreplace")

"""A run's folder: the config that it belongs to, and the record of its phases."""

import datetime
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from irg_jax.core.config.files import load, to_json
from irg_jax.core.config.schema import leaves
from irg_jax.core.errors import UserError
from irg_jax.core.storage import write_text
from irg_jax.experiment.config import ExperimentConfig
from irg_jax.training.config import StageConfig


def claim(workdir: Path, config: StageConfig | ExperimentConfig) -> None:
    """Saves the config as ``config.json`` in a new run's folder, or checks that the folder belongs to this config.

    Args:
      workdir: the run's folder; made if missing.
      config: as parsed, ``{workdir}`` not filled in, so that a run can be moved and repeated.

    Raises:
      UserError: the folder belongs to a run of another config (the first key that differs is named), or cannot be
        written.
    """
    path = workdir / "config.json"
    if not path.exists():
        if any(workdir.glob("*/checkpoints")) or (workdir / "checkpoints").exists():
            raise UserError(f"{workdir}: holds checkpoints but no config.json; choose another --workdir")
        try:
            workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{workdir}: cannot be the run's folder ({error.strerror}); choose another") from error
        try:
            write_text(path, to_json(config))
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); free the disk") from error
        return
    # Through JSON, which makes tuples and lists the same.
    mine, saved = (dict(leaves(json.loads(to_json(values)))) for values in (config, load(path)))
    for key in sorted(mine.keys() ^ saved.keys()):
        holder = f"the {path.name} there" if key in saved else "this run's config"
        raise UserError(
            f"{workdir}: belongs to another run or to another version of irg_jax: only {holder} has the key {key}; "
            "choose another --workdir"
        )
    for key in sorted(mine):
        if mine[key] != saved[key]:
            raise UserError(
                f"{workdir}: belongs to another run: {key} is {saved[key]!r} there, {mine[key]!r} here; "
                f"choose another --workdir, or repeat that run with --config {path}"
            )


class RunRecord:
    """``run.json``: command, commit of the code, start, seconds of each phase over all restarts, peak memory in GiB."""

    def __init__(self, workdir: Path):
        """Continues the record in ``workdir``, or starts one. Raises UserError where it cannot be written."""
        self._path = workdir / "run.json"
        self._values = json.loads(self._path.read_text("utf-8")) if self._path.exists() else {}
        self._values.setdefault("started", datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
        self._values.setdefault("command", " ".join(["python -m irg_jax.train", *sys.argv[1:]]))
        self._values.setdefault("commit", _commit())
        self._values.setdefault("seconds", {})
        self._write()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Times a phase; the time spent in it before an interruption is added."""
        start = time.monotonic()
        try:
            yield
        finally:
            spent = self._values["seconds"].get(name, 0.0) + time.monotonic() - start
            self._values["seconds"][name] = round(spent, 1)
            # Linux counts in KiB.
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            self._values["peak_memory_gib"] = round(max(peak, self._values.get("peak_memory_gib", 0.0)), 2)
            self._write()

    def _write(self) -> None:
        if jax.process_index() > 0:
            return
        try:
            write_text(self._path, json.dumps(self._values, indent=1))
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written ({error.strerror}); free the disk") from error


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True)
    except OSError:  # git is not installed
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""

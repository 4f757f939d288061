"""A run's folder: the config that it belongs to, and the record of its phases."""

import datetime
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from irg_jax.core.config.files import from_json, to_json
from irg_jax.core.config.schema import leaves
from irg_jax.core.errors import StorageError, UserError
from irg_jax.core.small_files import is_hidden, read_text, write_text
from irg_jax.core.storage import AnyPath, as_path, retry
from irg_jax.experiment.config import ExperimentConfig
from irg_jax.experiment.environment import environment
from irg_jax.experiment.resume import compare
from irg_jax.training.config import StageConfig


def claim(
    workdir: str | os.PathLike[str], config: StageConfig | ExperimentConfig, allow_changes: bool = False
) -> list[str]:
    """Saves the config as ``config.json`` in a new run's folder, or checks that the folder's run can go on with it.

    What does not change the mathematics may differ, such as the mesh or how often is logged: ``config.json`` is then
    replaced, and ``run.json`` keeps what has changed.

    Args:
      workdir: the run's folder, or its URL; made if missing.
      config: as parsed, ``{workdir}`` and ``{package}`` not filled in, so that a run can be moved and repeated.
      allow_changes: whether the learning rate and the like may differ too, see ``resume.compare``.

    Returns:
      the changes, such as ``log.every: 10 -> 50``, which are logged too.

    Raises:
      UserError: the folder belongs to a run of another config (the first key that differs is named), or cannot be
        written.
      StorageError: the storage went on answering with errors.
    """
    folder = as_path(workdir)
    path = folder / "config.json"
    if not retry(path.exists, f"{path}: cannot be read"):
        if retry(lambda: _steps(folder), f"{folder}: cannot be read"):
            raise UserError(f"{folder}: holds checkpoints but no config.json; choose another --workdir")
        try:
            retry(lambda: folder.mkdir(parents=True, exist_ok=True), f"{folder}: cannot be made")
        except OSError as error:
            raise UserError(f"{folder}: cannot be the run's folder ({error.strerror}); choose another") from error
        retry(lambda: write_text(path, to_json(config)), f"{path}: cannot be written")
        return []
    try:
        saved = from_json(retry(lambda: read_text(path), f"{path}: cannot be read"))
    except ValueError as error:
        raise UserError(f"{path}: not a saved config: {error}") from error
    # Through JSON, which makes tuples and lists the same.
    before, after = (dict(leaves(json.loads(to_json(values)))) for values in (saved, config))
    changes = compare(before, after, folder, allow_changes)
    if not changes:
        return []
    steps = retry(lambda: _steps(folder), f"{folder}: cannot be read")
    record = _read_record(folder)
    record.setdefault("changes", []).append({"time": _now(), "steps": steps, "values": changes})
    _write_record(folder, record)
    retry(lambda: write_text(path, to_json(config)), f"{path}: cannot be written")
    lines = [f"{key}: {_shown(old)} -> {_shown(new)}" for key, (old, new) in changes.items()]
    for line in lines:
        logging.info("the config has changed since the run began: %s", line)
    return lines


class RunRecord:
    """``run.json``: command, code, libraries and devices at every start, seconds of each phase, peak memory in GiB.

    Every process has one; the primary one writes it.
    """

    def __init__(self, workdir: str | os.PathLike[str]):
        """Continues the record in ``workdir``, or starts one.

        Raises:
          UserError: it cannot be written.
          StorageError: the storage went on answering with errors.
        """
        self._workdir = as_path(workdir)
        self._values = _read_record(self._workdir)
        self._environment = environment()
        self._command = " ".join(["python -m irg_jax.train", *sys.argv[1:]])
        start = {"time": _now(), "command": self._command, **self._environment}
        self._values.setdefault("started", start["time"])
        self._values.setdefault("command", self._command)
        self._values.setdefault("commit", self._environment["commit"])
        for key, kind in (("starts", list), ("seconds", dict)):
            if not isinstance(self._values.get(key), kind):
                self._values[key] = kind()
        self._values["starts"].append(start)
        self._write()

    def describe(self) -> dict[str, str]:
        """Texts about this start of the run by name, for the metric writers: its command and what computes it."""
        flat = {"command": self._command} | self._environment["versions"] | self._environment
        flat.pop("versions")
        return {name: str(value) for name, value in flat.items()}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Times a phase; the time spent in it before an interruption is added."""
        start = time.monotonic()
        try:
            yield
        except BaseException:
            try:
                self._end_phase(name, start)
            except (UserError, StorageError) as error:  # the first error is the one to be told
                logging.warning("%s", error)
            raise
        self._end_phase(name, start)

    def _end_phase(self, name: str, start: float) -> None:
        spent = self._values["seconds"].get(name, 0.0) + time.monotonic() - start
        self._values["seconds"][name] = round(spent, 1)
        # Linux counts in KiB.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        self._values["peak_memory_gib"] = round(max(peak, self._values.get("peak_memory_gib", 0.0)), 2)
        self._write()

    def _write(self) -> None:
        if jax.process_index() == 0:
            _write_record(self._workdir, self._values)


def _read_record(workdir: AnyPath) -> dict[str, Any]:
    path = workdir / "run.json"
    try:
        values = json.loads(retry(lambda: read_text(path) if path.exists() else "{}", f"{path}: cannot be read"))
    except ValueError:
        values = None
    if isinstance(values, dict):
        return values
    # It holds times and versions only, for which no run has to end: a machine that lost its power may leave it empty.
    logging.warning("%s: is not a JSON object; the record of the run begins anew", path)
    return {}


def _write_record(workdir: AnyPath, values: dict[str, Any]) -> None:
    path = workdir / "run.json"
    retry(lambda: write_text(path, json.dumps(values, indent=1)), f"{path}: cannot be written")


def _steps(workdir: AnyPath) -> dict[str, int | None]:
    """The latest checkpoint of every folder with checkpoints in a run's folder, ``.`` for the folder itself."""
    found: dict[str, int | None] = {}
    inside = [path for path in workdir.iterdir() if path.is_dir() and not is_hidden(path)] if workdir.is_dir() else []
    for folder in (workdir, *inside):
        if (folder / "checkpoints").is_dir():
            steps = [int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit()]
            found["." if folder == workdir else folder.name] = max(steps, default=None)
    return found


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)

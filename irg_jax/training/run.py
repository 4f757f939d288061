"""A run's folder: whose it is, and how its phases went."""

import datetime
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from irg_jax import config as configs
from irg_jax.errors import UserError


def claim(workdir: Path, config: Any) -> None:
    """Makes the folder this config's, or finds that it is already.

    Raises:
      UserError: the folder belongs to a run of another config (the first key that differs is named), or cannot be made.
    """
    path = workdir / "config.json"
    if not path.exists():
        if any(workdir.glob("*/checkpoints")) or (workdir / "checkpoints").exists():
            raise UserError(f"{workdir}: holds checkpoints but no config.json; choose another --workdir")
        try:
            workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{workdir}: cannot be the run's folder ({error.strerror}); choose another") from error
        configs.save(config, path)
        return
    mine, theirs = (dict(_leaves(json.loads(configs.to_json(c)))) for c in (config, configs.load(path)))
    for key in sorted(mine.keys() | theirs.keys()):
        if key not in mine or key not in theirs or mine[key] != theirs[key]:
            there, here = (repr(values[key]) if key in values else "missing" for values in (theirs, mine))
            raise UserError(
                f"{workdir}: belongs to another run: {key} is {there} there, {here} here; "
                f"choose another --workdir, or repeat that run with --config {path}"
            )


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{prefix}{key}.")
    else:
        yield prefix.removesuffix("."), value


class RunLog:
    """``run.json``: command, commit of the code, start, seconds of each phase over all restarts, peak memory."""

    def __init__(self, workdir: Path):
        self._path = workdir / "run.json"
        self._values = json.loads(self._path.read_text("utf-8")) if self._path.exists() else {}
        self._values.setdefault("started", datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
        self._values.setdefault("command", " ".join(["python -m irg_jax.train", *sys.argv[1:]]))
        self._values.setdefault("commit", _commit())
        self._values.setdefault("seconds", {})
        self._write()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Times a phase; what a phase took before an interruption is kept."""
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
        temporary = self._path.with_suffix(".tmp")
        try:
            temporary.write_text(json.dumps(self._values, indent=1), encoding="utf-8")
            temporary.replace(self._path)
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written ({error.strerror}); free the disk") from error


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True)
    except OSError:  # no git on this machine
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""

"""Runs the package's commands as a user would, at the smallest size that still runs every part."""

import contextlib
import logging
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import unittest.mock
import warnings
from collections.abc import Iterator

import jaxlib.version

ROOT = pathlib.Path(__file__).resolve().parents[1]

SMALL = {
    "steps": 2,
    "init_from": "",
    "data.tokenizer": "{workdir}/data/tokenizer",
    "data.sources.shapes.world.train": 30,
    "data.sources.shapes.world.held_out": 6,
    "data.batch_size": 1,
    "model.decoder.hidden": 16,
    "model.decoder.layers": 1,
    "model.decoder.mlp": 16,
    "model.vit.layers": 1,
    "optim.warmup_steps": 0,
    "sampling.prompt_bucket": 8,
    "sampling.time_points": 3,
    "sampling.max_thinking": (8, 12),
}
# Tests compile for seconds what then runs for milliseconds: fast code costs twice the time that it saves.
FAST_COMPILATION = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
if jaxlib.version.__version_info__ < (0, 11):
    # XLA's older code generator takes a third of the time. A jaxlib without it does not start with this flag.
    FAST_COMPILATION.append("--xla_cpu_use_fusion_emitters=false")
# Shared by all test processes of this user, so that a step is compiled once.
_CACHE = pathlib.Path(tempfile.gettempdir()) / f"irg_jax_test_cache_{os.getuid()}"


def command_line(name: str, *flags: object) -> list[str]:
    """The arguments of ``python -m irg_jax.NAME``."""
    return [sys.executable, "-m", f"irg_jax.{name}", *map(str, flags)]


def environment() -> dict[str, str]:
    """The environment of a command: one device, fast compilation, and a compilation cache."""
    return os.environ | {
        "XLA_FLAGS": " ".join(FAST_COMPILATION),
        "JAX_COMPILATION_CACHE_DIR": str(_CACHE),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }


def run(name: str, *flags: object) -> subprocess.CompletedProcess[str]:
    """Runs a command and waits for it."""
    return subprocess.run(
        command_line(name, *flags), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300
    )


def call(name: str, *flags: object) -> int:
    """Runs a command in this process, because starting one takes seconds; returns its exit status.

    The command has the eight devices of the tests, not one, and what is patched for a test. What Python warns of does
    not come to ``stderr``, since pytest collects it.
    """
    line = [f"irg_jax.{name}", *map(str, flags)]
    with _own_logging(), unittest.mock.patch.object(sys, "argv", line), contextlib.chdir(ROOT):
        try:
            with warnings.catch_warnings():
                # That the module may have been imported before: its flags are new ones here.
                warnings.filterwarnings("ignore", "'irg_jax", RuntimeWarning, "runpy")
                runpy.run_module(line[0], run_name="__main__")
        except SystemExit as end:
            return end.code or 0
    return 0


def run_here(capfd, name: str, *flags: object) -> subprocess.CompletedProcess[str]:
    """``run`` in this process (see ``call``); ``capfd``, pytest's fixture, reads what the command writes."""
    capfd.readouterr()
    status = call(name, *flags)
    return subprocess.CompletedProcess([name, *flags], status, *capfd.readouterr())


@contextlib.contextmanager
def _own_logging() -> Iterator[None]:
    """A command sets up logging for its process: on the stderr of this test, which the next one does not have."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = [logging.NullHandler()]
    root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)


def small(**changes: object) -> list[str]:
    """The flags that shrink a stage's config to ``SMALL``; dots in the keys of ``changes`` are two underscores."""
    values = SMALL | {key.replace("__", "."): value for key, value in changes.items()}
    return [f"--config.{key}={value}" for key, value in values.items()]

"""The compilation cache of every command: where it is, how it is turned off, and a folder that cannot be written."""

import os
import subprocess
import sys

import pytest

from irg_jax.core.compile_cache import enable
from tests import commands

# Compiles one program and says where JAX keeps it.
COMMAND = """
import sys
from irg_jax.core.config.command_line import run_command
def main():
    import jax
    jax.jit(lambda x: x + 1)(1)
    used = jax.config.jax_compilation_cache_dir if jax.config.jax_enable_compilation_cache else None
    print(used)
run_command(main)
"""


@pytest.fixture
def command(tmp_path):
    file = tmp_path / "command.py"
    file.write_text(COMMAND)
    environment = {k: v for k, v in os.environ.items() if k not in ("JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS")}
    environment |= {
        "PYTHONPATH": str(commands.ROOT),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    def run(*flags, **variables):
        """Where the command kept its program, and what it wrote to stderr."""
        done = subprocess.run(
            [sys.executable, file, *flags], env=environment | variables, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip(), done.stderr

    return run


def entries(folder):
    return sorted(path.name for path in folder.glob("*-cache"))


def test_the_second_run_finds_what_the_first_compiled(command, tmp_path):
    folder = tmp_path / "cache/irg_jax/xla"
    assert command()[0] == str(folder)
    first = entries(folder)
    _, log = command(JAX_DEBUG_LOG_MODULES="jax._src.compiler")
    assert first and entries(folder) == first
    assert "Persistent compilation cache hit" in log


def test_a_flag_wins_over_the_environment_and_off_keeps_nothing(command, tmp_path):
    given, named = str(tmp_path / "given"), str(tmp_path / "named")
    assert command(JAX_COMPILATION_CACHE_DIR=named)[0] == named
    assert command(f"--compile_cache={given}", JAX_COMPILATION_CACHE_DIR=named)[0] == given
    assert command("--compile_cache=off", JAX_COMPILATION_CACHE_DIR=named)[0] == "None"


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (tmp_path / "file").write_text("")
    enable(str(tmp_path / "file" / "xla"))
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: --compile_cache ") and "cannot be written (Not a directory)" in line

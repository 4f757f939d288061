"""The fixture of the launchers' tests: stand-ins, and programs that react to Ctrl-C."""

import subprocess
import sys

import pytest

from tests import commands
from tests.launch.world import World


@pytest.fixture
def world(tmp_path, python_handles_ctrl_c):
    return World(tmp_path)


@pytest.fixture
def installed(tmp_path):
    """The environment of a script with a virtual environment that counts as set up, with the Python of these tests."""

    def environment(extra=""):
        venv = tmp_path / "venv"
        (venv / "bin").mkdir(parents=True)
        (venv / "pyvenv.cfg").touch()
        python = venv / "bin" / "python"
        python.write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        prints = 'root=$1; source "$root/launch/environment.sh"; fingerprint "$2"'
        found = subprocess.run(
            ["bash", "-c", prints, "bash", commands.ROOT, python], capture_output=True, text=True, check=True
        )
        (venv / ".installed").write_text(f"{found.stdout.strip()} {extra}\n")
        return commands.environment() | {"IRG_VENV": str(venv)}

    return environment

"""The fixture of the launchers' tests: stand-ins, and programs that react to Ctrl-C."""

import pytest

from tests.launch.world import World


@pytest.fixture
def world(tmp_path, python_handles_ctrl_c):
    return World(tmp_path)

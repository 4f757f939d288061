"""What every launcher's test has: a world of its own, and a Ctrl-C that its programs hear."""

import pytest

from tests.launch.world import World


@pytest.fixture
def world(tmp_path, python_handles_ctrl_c):
    return World(tmp_path)

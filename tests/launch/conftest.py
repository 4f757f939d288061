"""What every launcher's test has: a world of its own, and a Ctrl-C that its programs hear."""

import signal

import pytest

from tests.launch.world import World


@pytest.fixture
def world(tmp_path):
    # A shell's background job starts with SIGINT ignored, and so would the scripts, which cannot trap it then.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield World(tmp_path)
    signal.signal(signal.SIGINT, before)

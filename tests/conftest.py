"""What every test needs before jax is imported: the CPU, as eight devices, and absl flags that count as parsed."""

import os
import signal

import pytest

# Set, not defaulted: a GPU or TPU machine runs the same tests on the same eight devices.
os.environ["JAX_PLATFORMS"] = "cpu"
_FLAGS = (
    "--xla_force_host_platform_device_count=8",
    # Tests compile for seconds what then runs for milliseconds: fast code costs twice the time that it saves.
    "--xla_backend_optimization_level=0",
)
for _flag in _FLAGS:
    if _flag not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_flag}".strip()

from absl import flags  # noqa: E402  (the environment comes first)

# Grain's worker processes read absl flags, which a program parses and pytest does not.
flags.FLAGS.mark_as_parsed()


@pytest.fixture
def python_handles_ctrl_c():
    """A shell's background job starts with SIGINT ignored, also for what it starts; a person's terminal does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)

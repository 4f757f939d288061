"""What every test needs before jax is imported: the CPU, as eight devices, and absl flags that count as parsed."""

import os
import signal

import pytest

from tests import commands

# Set, not defaulted: a GPU or TPU machine runs the same tests on the same eight devices.
os.environ["JAX_PLATFORMS"] = "cpu"
# The reader of the shapes world multiplies small matrices, for which threads cost more than they save.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
for _flag in ("--xla_force_host_platform_device_count=8", *commands.FAST_COMPILATION):
    if _flag not in os.environ.get("XLA_FLAGS", ""):
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_flag}".strip()

from absl import flags  # noqa: E402  (the environment comes first)

# Grain's worker processes read absl flags, which a program parses and pytest does not.
flags.FLAGS.mark_as_parsed()


@pytest.fixture(autouse=True)
def no_compilation_cache(monkeypatch):
    """A command that a test runs in this process does not turn the cache on for the tests after it."""
    monkeypatch.setattr("irg_jax.core.compile_cache.enable", lambda folder: None)


@pytest.fixture
def compile_quickly():
    """Compiling for TPUs takes half the time, of a program that is not run."""
    import jax

    name = "jax_exec_time_optimization_effort"
    before = getattr(jax.config, name)
    jax.config.update(name, -1.0)
    yield
    jax.config.update(name, before)


@pytest.fixture
def python_handles_ctrl_c():
    """A shell's background job starts with SIGINT ignored, also for what it starts; a person's terminal does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)

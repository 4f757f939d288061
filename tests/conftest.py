"""What every test needs before jax is imported: the CPU, as eight devices, and absl flags that count as parsed."""

import os

# Set, not defaulted: a GPU or TPU machine runs the same tests on the same eight devices.
os.environ["JAX_PLATFORMS"] = "cpu"
_EIGHT_DEVICES = "--xla_force_host_platform_device_count=8"
if _EIGHT_DEVICES not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_EIGHT_DEVICES}".strip()

from absl import flags  # noqa: E402  (the environment comes first)

# Grain's worker processes read absl flags, which a program parses and pytest does not.
flags.FLAGS.mark_as_parsed()

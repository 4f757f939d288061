"""Which of jax's platforms this machine can have."""

import importlib.util
import os
import sys
from pathlib import Path

_GOOGLE = "0x1ae0"  # PCI vendor of TPUs
# What TPU VMs and GKE set. jax itself sets other variables whose names begin with TPU.
_VARIABLES = ("TPU_NAME", "TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES", "TPU_ACCELERATOR_TYPE")


def skip_missing_tpus() -> None:
    """Tells jax not to look for TPUs where there is none but libtpu is installed, to compile for others.

    It would look, and libtpu would say in a dozen lines that it has not found any. Nothing is changed where the user
    has chosen platforms, or where a GPU may be. Call it before anything of jax runs.
    """
    chosen = os.environ.get("JAX_PLATFORMS") or ("jax" in sys.modules and sys.modules["jax"].config.jax_platforms)
    gpu = any(importlib.util.find_spec(f"jax_{name}_plugin") for name in ("cuda12", "cuda13", "rocm7"))
    if chosen or gpu or importlib.util.find_spec("libtpu") is None or has_tpu():
        return
    os.environ["JAX_PLATFORMS"] = "cpu"
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_platforms", "cpu")


def has_tpu(root: Path = Path("/")) -> bool:
    """Whether the machine shows any sign of a TPU: device files, PCI devices, or the environment of a TPU VM."""
    if any(os.environ.get(name) for name in _VARIABLES):
        return True
    files = [*root.glob("dev/accel*"), *root.glob("dev/vfio/[0-9]*")]
    vendors = (path.read_text().strip() for path in root.glob("sys/bus/pci/devices/*/vendor"))
    return bool(files) or _GOOGLE in vendors

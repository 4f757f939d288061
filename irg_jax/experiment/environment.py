"""What a run is computed by: code, libraries, devices."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import jax

import irg_jax

_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def environment() -> dict[str, Any]:
    """Versions, devices and the state of the code, as JSON-serialisable values."""
    commit = _git("describe", "--always", "--dirty", "--abbrev=12")
    return {
        "commit": commit,
        "dirty": commit.endswith("-dirty"),
        "versions": {"irg_jax": irg_jax.__version__} | {name: _version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "platform": jax.default_backend(),
        "device_kind": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
    }


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:  # built from source, without metadata
        return ""


def _git(*arguments: str) -> str:
    try:
        found = subprocess.run(["git", "-C", str(Path(__file__).parent), *arguments], capture_output=True, text=True)
    except OSError:  # git is not installed
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""

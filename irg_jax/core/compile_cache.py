"""The persistent compilation cache of JAX, for every command: a program that was compiled once is read from disk."""

import os
import sys
from pathlib import Path

OFF = "off"
HELP = (
    "folder that keeps compiled programs, or a gs:// URL; 'off' keeps none. By default JAX_COMPILATION_CACHE_DIR, or "
    "irg_jax/xla in the user's cache folder. Of several processes only the first writes, so that hosts need one that "
    "they share. Programs for CPUs run only on CPUs of the same kind"
)


def enable(folder: str | None) -> None:
    """Turns the cache on, for this process and those that it starts; call it before anything is compiled.

    Programs that compile in less than JAX's ``jax_persistent_cache_min_compile_time_secs``, a second, are not kept.

    Args:
      folder: where programs are kept, ``OFF`` for nowhere; None for the default, see ``HELP``.
    """
    if folder == OFF:
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
        _update("jax_enable_compilation_cache", False)
        return
    folder = folder or os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(_default())
    if "://" not in folder and not _is_writable(Path(folder)):
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    _update("jax_compilation_cache_dir", folder)


def _default() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "irg_jax" / "xla"


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return True
        reason = "no permission"
    except OSError as error:
        reason = str(error.strerror)
    warning = f"warning: --compile_cache {folder}: cannot be written ({reason}); programs are compiled each time"
    print(warning, file=sys.stderr)
    return False


def _update(name: str, value: object) -> None:
    """JAX reads the environment when it is imported; a command that does not need JAX should not wait for it."""
    if "jax" in sys.modules:
        sys.modules["jax"].config.update(name, value)

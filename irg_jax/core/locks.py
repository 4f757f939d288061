"""One writer per folder."""

import contextlib
import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Iterator

from irg_jax.core.errors import UserError
from irg_jax.core.storage import as_path, is_url

LOCK_FILE = ".lock"
_UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str], what: str, *, wait: bool = False, beside: bool = False) -> Iterator[None]:
    """Holds a folder while the block runs; the kernel gives it free when this process dies, however it does.

    The lock is on the file ``.lock`` in the folder, or ``.NAME.lock`` beside it, which stays. On a bucket there are no
    locks, and file systems without them are logged: nothing is held there.

    Args:
      folder: made if it is missing.
      what: the flag that names it, for the error: ``--workdir``.
      beside: for a folder that gets its name only when it is complete: the lock does not make it.
      wait: whether to wait until another process that holds it gives it free, which is logged.

    Raises:
      UserError: another process holds it (without ``wait``), or it cannot be written to.
    """
    if is_url(folder):
        yield
        return
    path = as_path(folder) / LOCK_FILE
    if beside:
        path = path.parent.with_name(f".{path.parent.name}{LOCK_FILE}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not truncated: it says who holds it.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"{what}: {folder} cannot be written to ({error.strerror}); choose another folder") from error
    with open(descriptor, "r+", encoding="utf-8", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES) and wait:
                logging.info("%s: waiting for the process that writes there (%s)", folder, file.read().strip())
                fcntl.flock(file, fcntl.LOCK_EX)
            elif error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise UserError(
                    f"{what}: another process is writing to {folder} ({file.read().strip() or 'unknown'}); wait until "
                    "it ends, or choose another folder"
                ) from error
            elif error.errno not in _UNSUPPORTED:
                raise
            else:
                logging.warning("%s: its file system has no locks; start only one process that writes here", folder)
        file.seek(0)
        file.truncate()
        json.dump({"process": os.getpid(), "host": socket.gethostname()}, file)
        file.flush()
        yield

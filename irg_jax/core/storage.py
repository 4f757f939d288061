"""Storage: paths that may be URLs, and errors that pass by themselves."""

import errno
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import sleep
from typing import TypeAlias, TypeVar

from etils import epath

from irg_jax.core.errors import StorageError, UserError

T = TypeVar("T")
AnyPath: TypeAlias = Path | epath.Path

# Together more than a minute: a mount that is gone for 20 seconds is survived.
DELAYS = (1, 2, 4, 8, 16, 32)

_PERMANENT = {
    errno.ENOSPC: "free the disk",
    errno.EDQUOT: "free the disk",
    errno.EFBIG: "choose another file system",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EROFS: "choose another folder",
}
_TRANSIENT = {
    *(errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNREFUSED),
    *(errno.ECONNABORTED, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET),
    *(errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.EREMOTEIO, errno.ENXIO, errno.ENODEV, errno.ESHUTDOWN),
    *(errno.EPIPE, errno.EPROTO, errno.ECOMM),
}
_GONE = {errno.ENOENT, errno.ENOTDIR}
_TRANSIENT_CODES = {408, 429, *range(500, 600)}


def _texts(numbers: set[int]) -> str:
    return "|".join(re.escape(os.strerror(number)) for number in sorted(numbers))


# Libraries in C++ give the operating system's error, or a gRPC or HTTP status, in the text of a ValueError or
# RuntimeError.
_PERMANENT_TEXT = re.compile(_texts(set(_PERMANENT)) + "|PERMISSION_DENIED|UNAUTHENTICATED|^Forbidden")
_TRANSIENT_TEXT = re.compile(
    _texts(_TRANSIENT) + r"|\b(?:UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED)\b|HTTP response code: (?:408|429|5\d\d)"
)
_GONE_TEXT = re.compile(_texts(_GONE) + r"|\bNOT_FOUND\b")


_BROKEN_URL = re.compile(r"(gs|s3|az|hf):/[^/]")


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether a path is on a bucket, such as ``gs://bucket/run``, rather than in a file system."""
    return "://" in os.fspath(path)


def as_path(text: str | os.PathLike[str]) -> AnyPath:
    """An absolute ``pathlib.Path`` in a file system, or an ``epath.Path`` for a URL such as ``gs://bucket/run``.

    What both have in common works on either. Give it text: ``pathlib.Path`` would make one slash of a URL's two.

    Raises:
      UserError: a URL of an unknown kind, or one that needs a package that is missing.
    """
    text = os.fspath(text)
    if _BROKEN_URL.match(text):
        raise UserError(f"{text}: a URL has two slashes; write {text.replace(':/', '://', 1)}")
    if not is_url(text):
        return Path(os.path.abspath(text))
    try:
        path = epath.Path(text)
    except KeyError as error:
        raise UserError(f"{text}: {error.args[0]} is not supported; use gs://, s3:// or a mounted folder") from None
    _check_packages(text)
    return path


def _check_packages(url: str) -> None:
    import fsspec  # noqa: PLC0415  (slow, and needed for URLs only)

    scheme = url.partition("://")[0]
    try:
        fsspec.get_filesystem_class(scheme)
    except (ImportError, ValueError) as error:
        extra = "install the extra gcs: pip install 'irg-jax[gcs]'" if scheme == "gs" else str(error)
        raise UserError(f"{url}: a package for {scheme}:// is missing; {extra}, or mount the bucket") from error


def appears_when_closed(path: str | os.PathLike[str]) -> bool:
    """Whether others, and a machine that takes over, see a file there only once it is closed.

    So it is on buckets, by URL or mounted through FUSE.
    """
    if is_url(path):
        return True
    if sys.platform != "linux":
        return False
    with open("/proc/self/mounts", encoding="utf-8") as file:
        return _file_system(os.path.realpath(path), file).startswith("fuse")


def _file_system(path: str, mounts: Iterable[str]) -> str:
    """The type of the file system that a real path is on, from the lines of /proc/self/mounts."""
    longest, found = "", ""
    for line in mounts:
        _, mount, kind, *_ = line.split(" ")
        mount = mount.replace("\\040", " ")  # how a space is written there
        # A later mount on the same folder hides the earlier one.
        if f"{path}/".startswith(f"{mount.rstrip('/')}/") and len(mount) >= len(longest):
            longest, found = mount, kind
    return found


def is_transient(error: BaseException) -> bool:
    """Whether an error of the storage may pass by itself: I/O errors, lost connections, mounts and servers.

    False for what stays, such as a full disk or a missing permission, and for errors that are not of the storage.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _TRANSIENT
    if is_permanent(error):
        return False
    code = getattr(error, "code", None)  # the HTTP status, in the exceptions of clients of buckets
    if isinstance(error, ConnectionError | TimeoutError) or (isinstance(code, int) and code in _TRANSIENT_CODES):
        return True
    return _TRANSIENT_TEXT.search(_text(error)) is not None


def is_transient_or_gone(error: BaseException) -> bool:
    """``is_transient``, or a file that is missing: for files that were there, whose mount may have vanished."""
    if is_transient(error):
        return True
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _GONE
    return isinstance(error, FileNotFoundError) or _GONE_TEXT.search(_text(error)) is not None


def is_permanent(error: BaseException) -> bool:
    """Whether an error of the storage stays until the user does something: no space, no permission, read-only."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _PERMANENT
    return isinstance(error, PermissionError) or _PERMANENT_TEXT.search(_text(error)) is not None


def is_storage_error(error: BaseException) -> bool:
    """Whether an error comes from the storage, not from the code that uses it."""
    return isinstance(error, OSError) or is_permanent(error) or is_transient(error)


def _text(error: BaseException) -> str:
    """What the error says, if a library of storage can have raised it: jax's statuses are of devices and processes."""
    ours = isinstance(error, UserError | StorageError) or not isinstance(error, Exception)
    return "" if ours or type(error).__module__.partition(".")[0] in ("jax", "jaxlib") else str(error)


def storage_reason(error: BaseException) -> str:
    """The operating system's message if there is one, else the first line of the error."""
    if isinstance(error, OSError) and error.errno in {*_PERMANENT, *_TRANSIENT, *_GONE}:
        return os.strerror(error.errno)  # some libraries put a longer text of their own into ``strerror``
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    known = _PERMANENT_TEXT.search(str(error)) or re.search(_texts(_TRANSIENT | _GONE), str(error))
    return known[0] if known else (str(error).splitlines() or [type(error).__name__])[0][:200]


def retry(
    work: Callable[[], T],
    what: str,
    *,
    delays: Sequence[float] = DELAYS,
    retry_if: Callable[[BaseException], bool] = is_transient,
) -> T:
    """Does ``work``, again and again while the storage answers with errors that may pass by themselves.

    Each failed try is logged as a warning.

    Args:
      work: can be done twice: a failed try leaves nothing that disturbs the next.
      what: where and what fails, for messages: ``runs/1/config.json: cannot be written``.
      delays: seconds between tries.
      retry_if: which errors may pass. Readers of files that were there give ``is_transient_or_gone``.

    Returns:
      what ``work`` returns.

    Raises:
      StorageError: the last try failed too.
      UserError: the disk is full, or a permission is missing.
      Exception: what else ``work`` raises, at once.
    """
    for delay in (*delays, None):
        try:
            return work()
        except Exception as error:
            if retry_if(error):
                if delay is None:
                    tries = f", tried {len(delays) + 1} times in {sum(delays):.0f} s" if delays else ""
                    raise StorageError(f"{what} ({storage_reason(error)}){tries}") from error
                logging.warning("%s (%s); next try in %g s", what, storage_reason(error), delay)
            elif is_permanent(error):
                raise UserError(f"{what} ({storage_reason(error)}); {_advice(error)}") from error
            else:
                raise
        sleep(delay)
    raise AssertionError("unreachable")


def _advice(error: BaseException) -> str:
    number = error.errno if isinstance(error, OSError) else None
    return _PERMANENT.get(number or 0, "free the disk or check its permissions")

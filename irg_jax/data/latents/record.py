"""The record of a trajectory's moments: the checksum of the trajectory, then the shape and values for each image."""

import struct
from collections.abc import Mapping

import ml_dtypes
import numpy as np

from irg_jax.data.trajectory import IMAGES

DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
_HEADER = struct.Struct("<I" + "HH" * len(IMAGES))  # checksum; (h, w) of each image, zeros where there are no moments


def pack(crc: int, moments: Mapping[str, np.ndarray], dtype: str) -> bytes:
    """The bytes of a record.

    Args:
      crc: of the trajectory, as in its index.
      moments: by name of the image, [h, w, 2·channels]; images that are not there, or cannot be decoded, are left out.
      dtype: in which they are stored, a key of ``DTYPES``.

    Raises:
      OverflowError: a mean is larger than the dtype can hold.
    """
    shapes, values = list[int](), list[bytes]()
    for name in IMAGES:
        found = moments.get(name)
        shapes += [0, 0] if found is None else found.shape[:2]
        if found is not None:
            stored = found.astype(DTYPES[dtype])
            # A log-variance may be −∞, which says that there is no variance.
            if not np.isfinite(stored[..., : stored.shape[-1] // 2].astype(np.float32)).all():
                raise OverflowError(f"{name}: moments up to {np.abs(found[np.isfinite(found)]).max():.3g}")
            values.append(stored.tobytes())
    return _HEADER.pack(crc, *shapes) + b"".join(values)


def unpack(content: bytes, channels: int, dtype: str) -> tuple[int, dict[str, np.ndarray]]:
    """What ``pack`` made bytes of: the checksum, and by name the moments as float32 [h, w, 2·channels].

    Raises:
      ValueError: not such a record.
    """
    if len(content) < _HEADER.size:
        raise ValueError(f"{len(content)} bytes are less than a header")
    crc, *sides = _HEADER.unpack_from(content)
    kind, offset, found = DTYPES[dtype], _HEADER.size, {}
    for name, height, width in zip(IMAGES, sides[::2], sides[1::2], strict=True):
        count = height * width * 2 * channels
        if count:
            values = np.frombuffer(content, kind, count, offset)
            found[name] = values.reshape(height, width, 2 * channels).astype(np.float32)
            offset += count * kind.itemsize
    if offset != len(content):
        raise ValueError(f"{len(content)} bytes instead of {offset}")
    return crc, found

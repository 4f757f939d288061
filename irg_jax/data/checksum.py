"""The checksum of a record: CRC-32C, as in storage systems, which processors compute by themselves."""

from collections.abc import Iterable

import crc32c


def checksum(parts: Iterable[bytes]) -> int:
    """CRC-32C of these bytes one after another."""
    value = 0
    for part in parts:
        value = crc32c.crc32c(part, value)
    return value

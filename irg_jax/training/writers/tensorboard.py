"""Event files for TensorBoard.

tensorboardX encodes the events; its own writer is not used, because the thread in it dies at the first error of the
storage, after which training would wait for it forever.
"""

import socket
import struct
import time
from collections.abc import Callable, Mapping

import numpy as np
from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from irg_jax.core.storage import AnyPath, appears_when_closed, retry


class TensorBoardWriter:
    """Writes events for TensorBoard.

    In a file system they are in the file when a method returns. On a bucket, where a file is seen once it is closed and
    cannot grow, there is a new file every ``part_seconds``.
    """

    def __init__(
        self,
        directory: AnyPath,
        *,
        resume_step: int | None,
        part_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens the folder.

        Args:
          directory: of the event files; made if it is missing.
          resume_step: TensorBoard hides earlier events of later steps.
          part_seconds: between two files on a bucket.
          clock: in seconds.
        """
        self._directory, self._part_seconds, self._clock = directory, part_seconds, clock
        self._retry(lambda: directory.mkdir(parents=True, exist_ok=True))
        self._in_parts = appears_when_closed(directory)
        self._file: AnyPath | None = None
        self._records = b""  # not written yet
        self._part_start = clock()
        first = 0 if resume_step is None else resume_step + 1
        self._add(Event(step=first, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """See ``Writer``."""
        for name, value in scalars.items():
            self._add(Event(step=step, summary=summary.scalar(name, float(value))))
        self._flush_if_due()

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """See ``Writer``."""
        for name, image in images.items():
            self._add(Event(step=step, summary=summary.image(name, image, dataformats="HWC")))
        self._flush_if_due()

    def write_text(self, name: str, text: str) -> None:
        """See ``Writer``."""
        self._add(Event(step=0, summary=summary.text(name, text)))
        self._flush_if_due()

    def close(self) -> None:
        """Writes what is not written yet."""
        self._flush()

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records += _record(event)

    def _flush_if_due(self) -> None:
        if not self._in_parts or self._clock() - self._part_start >= self._part_seconds:
            self._flush()

    def _flush(self) -> None:
        if self._records:
            self._retry(self._write_records)
            self._records, self._part_start = b"", self._clock()

    def _write_records(self) -> None:
        # After a failed try, which may have left half a record, the next one begins a new file.
        file, self._file = self._file, None
        if file is None:
            # TensorBoard reads the files of a folder in the order of their names.
            file = self._directory / f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"
            version = _record(Event(wall_time=time.time(), file_version="brain.Event:2"))
            file.write_bytes(version + self._records)
        else:
            _append_bytes(file, self._records)
        if not self._in_parts:
            self._file = file

    def _retry(self, work: Callable[[], object]) -> None:
        retry(work, f"{self._directory}: events cannot be written")


def _append_bytes(path: AnyPath, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _record(event: Event) -> bytes:
    """An event in the TFRecord format: its length and its bytes, each with a checksum."""
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))

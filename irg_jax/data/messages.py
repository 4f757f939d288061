"""Messages between processes: pickles whose arrays travel beside them, so that they are copied once."""

import pickle
import struct
from typing import IO, Any, NamedTuple

import numpy as np

_COUNT = struct.Struct("<Q")


class Answer(NamedTuple):
    """What a worker sends back: a value, or the exception that was raised."""

    value: Any
    error: Exception | None


def send(pipe: IO[bytes], message: Any) -> None:
    """Writes a message. Raises BrokenPipeError if nobody reads any more."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    views = [memoryview(pickled), *(buffer.raw() for buffer in buffers)]
    pipe.write(b"".join(_COUNT.pack(number) for number in (len(views), *(view.nbytes for view in views))))
    for view in views:
        pipe.write(view)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """Reads a message. Raises EOFError if the other side has ended."""
    (count,) = _COUNT.unpack(_read(pipe, _COUNT.size))
    sizes = [_COUNT.unpack(_read(pipe, _COUNT.size))[0] for _ in range(count)]
    pickled, *buffers = [_read(pipe, size) for size in sizes]
    return pickle.loads(pickled, buffers=buffers)


def _read(pipe: IO[bytes], size: int) -> memoryview:
    content = np.empty(size, np.uint8).data  # not cleared first, unlike a bytearray
    done = 0
    while done < size:
        count = pipe.readinto(content[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        done += count
    return content

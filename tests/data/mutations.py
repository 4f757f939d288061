"""Good inputs made bad: bytes flipped, cut, inserted and repeated; JSON with other values in it. All from a seed."""

import copy
import json
import random
import zlib

_ODD = ["", " ", "\0", "\ud800", "￿", "<image>", "x" * 5000, "data:image/png;base64,", "../x", "/", "gs://x", "a" * 300]
_VALUES = [None, True, False, 0, -1, 10**400, 1e999, float("nan"), 0.5, [], {}, [None], {"": None}, [[]], *_ODD]
# Deeper than Python recurses, and a little less deep, where reading may succeed and what follows may not.
_DEPTHS = (20, 300, 480, 900, 960, 990, 5000, 100_000)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The content with one to four small changes, most of them where a format's header is."""
    made = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        size = len(made)
        at = rng.randrange(min(size, 64) if rng.random() < 0.4 else size) if size else 0
        length = rng.choice((1, 2, 4, 16, 256))
        change = rng.randrange(7)
        if change == 0 and size:
            made[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            made[at : at + length] = rng.randbytes(min(length, max(size - at, 0)))
        elif change == 2:
            del made[at : at + length]
        elif change == 3:
            made[at:at] = rng.randbytes(length)
        elif change == 4:
            made[at:at] = bytes(made[at : at + length]) * rng.choice((1, 3, 50))
        elif change == 5:
            made[at : at + length] = bytes([rng.choice((0, 0x7F, 0x80, 0xFF))]) * length
        else:
            del made[at:]
    return bytes(made)


def with_checksums(png: bytes) -> bytes:
    """A PNG whose chunks have right checksums, without which nothing behind them is looked at."""
    made, start = bytearray(png), 8
    while start + 12 <= len(made):
        end = start + 8 + int.from_bytes(made[start : start + 4])
        made[end : end + 4] = zlib.crc32(made[start + 4 : end]).to_bytes(4)
        start = end + 4
    return bytes(made)


def mutated_json(value: object, rng: random.Random) -> str:
    """The JSON of a value in which something is missing, repeated, renamed, of another type, or nested deeply."""
    made = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 4))):
        made = _changed(made, rng)
    text = json.dumps(made, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.1:
        depth = rng.choice(_DEPTHS)
        opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
        nested = f"{opening * depth}1{closing * depth}"
        at = rng.choice([i for i, character in enumerate(text) if character in '"tfn0'] or [0])
        end = text.find('"', at + 1) + 1 or len(text)
        text = f"{text[:at]}{nested}{text[end:]}"
    return text


def _changed(value: object, rng: random.Random) -> object:
    """The value with a change somewhere in it."""
    if isinstance(value, list) and value and rng.random() < 0.8:
        at, change = rng.randrange(len(value)), rng.randrange(6)
        if change == 0:
            del value[at]
        elif change == 1:
            value.insert(at, copy.deepcopy(value[at]))
        elif change == 2:
            rng.shuffle(value)
        else:
            value[at] = _changed(value[at], rng)
        return value
    if isinstance(value, dict) and value and rng.random() < 0.8:
        name, change = rng.choice(list(value)), rng.randrange(6)
        if change == 0:
            del value[name]
        elif change == 1:
            value[rng.choice(_ODD)] = value.pop(name)
        elif change == 2:
            value[name] = copy.deepcopy(value[rng.choice(list(value))])
        else:
            value[name] = _changed(value[name], rng)
        return value
    if isinstance(value, str) and rng.random() < 0.5:
        content = mutated(value.encode("utf-8", "surrogatepass"), rng)
        return content.decode("utf-8", rng.choice(("replace", "surrogateescape")))
    return copy.deepcopy(rng.choice([*_VALUES, [value], {"content": value}]))

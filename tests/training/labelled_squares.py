"""Labelled pictures to learn from: a coloured square in one of four quarters of a grey picture."""

import pathlib

import numpy as np

COLOURS = np.array([(220, 30, 30), (30, 160, 60), (40, 80, 220)], np.uint8)


def squares(count: int, seed: int, size: int = 32) -> dict[str, np.ndarray]:
    """Pictures with two labels, the square's colour and its quarter; see ``data.labelled``."""
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.integers(0, len(COLOURS), count), rng.integers(0, 4, count)], axis=1).astype(np.int32)
    pictures = rng.integers(110, 140, (count, size, size, 3)).astype(np.uint8)
    half = size // 2
    for picture, (colour, quarter) in zip(pictures, labels, strict=True):
        side = int(rng.integers(4, half))
        top, left = (int(rng.integers(0, half - side + 1)) + half * int(x) for x in divmod(int(quarter), 2))
        picture[top : top + side, left : left + side] = COLOURS[colour]
    return {"pictures": pictures, "labels": labels, "classes": np.array([len(COLOURS), 4], np.int32)}


def write_both(folder: pathlib.Path, train: int, held_out: int, size: int = 32) -> dict[str, str | tuple[str]]:
    """Writes so many squares to learn from and to measure with; the paths as the config of an encoder names them."""
    return {
        "pictures": (write(folder / "train.npz", **squares(train, seed=0, size=size)),),
        "held_out": write(folder / "held_out.npz", **squares(held_out, seed=1, size=size)),
    }


def write(path: pathlib.Path, **arrays: np.ndarray) -> str:
    """Saves arrays as an .npz file; its path."""
    np.savez(path, **arrays)
    return str(path)

"""Small inputs for the importers, and how a test builds from them."""

import base64
import io
import json
import pathlib
import struct
import zlib

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

from irg_jax.data.importing import build, stats
from irg_jax.data.modes import MODES

TOY = pathlib.Path(__file__).parents[1] / "toy_dataset"
PART = "part-00000.parquet"
LENIENT = build.Options(max_rejected=1.0)


def build_from(source, out, **options):
    """Builds with any share of rejected rows allowed unless ``options`` say otherwise; gives the report."""
    return build.build(source, str(out), build.Options(**{"max_rejected": 1.0, **options}))


def records(out, split="train"):
    return [record for name, record in stats.read(out) if name == split]


def rejected(out):
    return [json.loads(line) for line in (out / build.REJECTED_FILE).read_text().splitlines()]


def encoded(size=(8, 8), kind="PNG", mode="RGB", color=None, **options):
    """An encoded image of one colour."""
    file = io.BytesIO()
    PIL.Image.new(mode, size, color if color is not None else 0).save(file, kind, **options)
    return file.getvalue()


def animated():
    frames = [PIL.Image.new("RGB", (8, 8), (i * 80, 0, 0)) for i in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def sixteen_bits():
    file = io.BytesIO()
    PIL.Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(file, "PNG")
    return file.getvalue()


def png_of(width, height):
    """A PNG whose header says a size that its few pixels do not have."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


class Copy:
    """A copy of the toy data set whose cells a test changes."""

    def __init__(self, folder):
        self.folder = folder
        self.cells = {
            mode: pq.read_table(TOY / mode / PART).column("conversation").to_pylist() for mode in sorted(MODES)
        }

    def turns(self, mode, row, change):
        """Changes the parsed turns of a row: ``change(turns)`` edits them."""
        turns = json.loads(self.cells[mode][row])
        change(turns)
        self.cells[mode][row] = json.dumps(turns)

    def image(self, mode, row, content, which=-1):
        """Gives an image of a row these bytes, or this text instead of their base64."""
        text = base64.b64encode(content).decode() if isinstance(content, bytes) else content

        def change(turns):
            [part for part in turns[1]["content"] if part["type"] == "image"][which]["content"] = text

        self.turns(mode, row, change)

    def content(self, mode, row, which=-1):
        images = [part for part in json.loads(self.cells[mode][row])[1]["content"] if part["type"] == "image"]
        return images[which]["content"]

    def write(self):
        """Writes all files; a cell may be bytes that are no UTF-8, or None."""
        for mode, cells in self.cells.items():
            raw = [cell.encode("utf-8", "surrogatepass") if isinstance(cell, str) else cell for cell in cells]
            binary = pa.array(raw, pa.binary())
            column = pa.StringArray.from_buffers(len(binary), *binary.buffers()[1:], binary.buffers()[0])
            (self.folder / mode).mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({"conversation": column}), self.folder / mode / PART, row_group_size=10)
        return f"parquet:{self.folder}"

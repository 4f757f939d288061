"""Whatever a record or a picture holds, reading it gives a value or a UserError: no other exception, hang or flood.

Each test makes bad inputs out of good ones, always the same ones, for as long as it may. ``IRG_FUZZ_SECONDS`` is how
long, and ``IRG_FUZZ_SEED`` makes other ones. The footers of parquet files are left alone: at some damage of theirs
pyarrow ends the whole process.
"""

import base64
import contextlib
import io
import json
import os
import random
import resource
import signal
import time

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data import images, modes
from irg_jax.data.conversation import Record
from irg_jax.data.importing import scan
from irg_jax.data.importing.features import Serializer
from irg_jax.data.importing.records import Records
from irg_jax.data.index import conversations, trajectories
from irg_jax.data.index.conversations import ConversationSamples
from irg_jax.data.packing.layout import RowBuilder
from irg_jax.data.sources import editing, irgl, llava, text_to_image, webdataset
from irg_jax.data.sources.trajectories import TrajectorySource
from tests import tiny
from tests.data.mutations import mutated, mutated_json, with_checksums

SECONDS = float(os.environ.get("IRG_FUZZ_SECONDS", "1"))
SEED = int(os.environ.get("IRG_FUZZ_SEED", "0"))
HANG = 2.0  # CPU seconds
FLOOD = 1 << 30  # bytes, beside what a test has had before; a picture may take some hundred MB of them
MANY = 30  # records in a file that is written for them


class Hang(BaseException):
    """An input takes too long; no except clause in the product catches it."""


@contextlib.contextmanager
def survived():
    """A UserError is fine, anything else ends the test."""

    def hang(*_):
        raise Hang

    before = signal.signal(signal.SIGPROF, hang)
    signal.setitimer(signal.ITIMER_PROF, HANG)
    try:
        with contextlib.suppress(UserError):
            yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def rounds(name):
    """A random generator for each round, until time is up; the inputs of a round do not depend on the others."""
    start, memory = time.monotonic(), peak()
    number = 0
    while time.monotonic() - start < SECONDS or number < 3:
        yield random.Random(f"{name} {SEED} {number}")
        number += 1
    assert peak() - memory < FLOOD


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


PROCESSOR = tiny.processor()


def use(record, index=0):
    """What an index and a row make of a record."""
    found = conversations.describe([(index, record)], PROCESSOR.tokenizer)
    samples = ConversationSamples(found.samples, found.parts, PROCESSOR)
    builder = RowBuilder(PROCESSOR, tiny.CONFIG.geometry)
    for sample, variant in enumerate(samples.variants):
        if samples.costs[sample].sum() < 10_000:  # longer ones are in no plan
            builder.add(record.conversations[variant], samples.segments(sample), 0, 0)
    return builder.row()


def use_all(source):
    for i in range(len(source)):
        with survived():
            use(source.read(i))


# --- records


TURNS = [
    {"role": "user", "content": "a red bench", "need_loss": False},
    {
        "role": "assistant",
        "content": [
            {"type": "text", "content": "<think> plan </think>", "need_loss": True},
            {"type": "image", "content": base64.b64encode(tiny.png()).decode(), "need_vae": True, "need_vit": True},
            {"type": "text", "content": "better", "need_loss": True},
            {"type": "image", "content": base64.b64encode(tiny.png(1)).decode(), "need_loss": True},
        ],
    },
]


def test_cells_of_the_published_layout():
    for rng in rounds("published"):
        text = mutated_json(TURNS, rng)
        if rng.random() < 0.3:
            text = mutated(json.dumps(TURNS).encode(), rng).decode("utf-8", "replace")
        with survived():
            use(Record((irgl.parse(text, "k"),), 0))


LINE = {
    "id": "7",
    "image": ["0.png", "sub/1.jpg"],
    "conversations": [
        {"from": "human", "value": "<image>\nWhat colour?\n<image>"},
        {"from": "gpt", "value": "Red."},
        {"from": "human", "value": "Sure?"},
        {"from": "gpt", "value": "Yes."},
    ],
}


def lines(good, rng):
    """Lines of which each is bad in its own way."""
    made = []
    for _ in range(MANY):
        line = mutated_json(good, rng).encode("utf-8", "surrogatepass")
        made.append(mutated(line, rng) if rng.random() < 0.3 else line)
    return b"\n".join(made)


def write_pictures(folder, rng):
    (folder / "sub").mkdir(exist_ok=True)
    (folder / "0.png").write_bytes(tiny.png() if rng.random() < 0.7 else mutated(tiny.png(), rng))
    (folder / "sub" / "1.jpg").write_bytes(mutated(encoded(PICTURE, "JPEG"), rng))


def test_lines_of_llava(tmp_path):
    for rng in rounds("llava"):
        write_pictures(tmp_path, rng)
        (tmp_path / "chat.jsonl").write_bytes(lines(LINE, rng))
        with survived():
            use_all(llava.open_source(tmp_path))


RECORD = {
    "key": "7", "prompt": "a red bench", "thinking1": "a plan", "image1": "0.png", "thinking2": "better",
    "image2": "sub/1.jpg", "source": "here", "licence": "CC0", "scene": "{}", "teachers": {"thinking1": "model"},
    "templates": {"thinking1": "v1"},
}  # fmt: skip


def test_lines_of_records(tmp_path):
    for rng in rounds("records"):
        write_pictures(tmp_path, rng)
        (tmp_path / "in.jsonl").write_bytes(lines(RECORD, rng))
        with survived():
            importer = Records(str(tmp_path / "in.jsonl"))
            for piece in range(len(importer.pieces)):
                scan.load(scan.dump(scan.scan(importer, piece, max_text=1000)))


def texts(cells):
    """A column of strings, also of bytes that are no UTF-8."""
    raw = [cell.encode("utf-8", "surrogatepass") if isinstance(cell, str) else cell for cell in cells]
    binary = pa.array(raw, pa.binary())
    return pa.StringArray.from_buffers(len(binary), *binary.buffers()[1:], binary.buffers()[0])


def sometimes(value, other, rng, share=0.2):
    return other if rng.random() < share else value


def test_rows_of_text_to_image(tmp_path):
    good = {"short": "a bench", "long": "a red bench in a park"}
    for rng in rounds("text to image"):
        pictures = [sometimes(mutated(encoded(PICTURE, "JPEG"), rng), None, rng) for _ in range(MANY)]
        captions = [sometimes(mutated_json(good, rng), None, rng, 0.1) for _ in range(MANY)]
        captions = [
            mutated(text.encode("utf-8", "surrogatepass"), rng) if text and rng.random() < 0.3 else text
            for text in captions
        ]
        table = pa.table({"image": pa.array(pictures, pa.binary()), "captions": texts(captions)})
        pq.write_table(table, tmp_path / "0.parquet")
        with survived():
            use_all(text_to_image.open_source(tmp_path))


def test_rows_of_editing(tmp_path):
    bytes_, words = pa.list_(pa.binary()), pa.list_(pa.list_(pa.string()))
    for rng in rounds("editing"):
        pictures, wordings = [], []
        for _ in range(MANY):
            steps = rng.randrange(4)
            pictures.append([sometimes(tiny.png(i), mutated(tiny.png(i), rng), rng) for i in range(steps + 1)])
            wordings.append(
                [[rng.choice(("make it red", "", " ", None, "add a cat!")) for _ in range(rng.randrange(4))]]
                * sometimes(steps, rng.randrange(5), rng)
            )
        pictures[rng.randrange(MANY)] = wordings[rng.randrange(MANY)] = None
        pictures[rng.randrange(MANY)] = [None, b"", tiny.png()]
        table = pa.table({"image_list": pa.array(pictures, bytes_), "instruction_list": pa.array(wordings, words)})
        pq.write_table(table, tmp_path / "0.parquet")
        with survived():
            use_all(editing.open_source(tmp_path))


def test_tar_files_and_their_members(tmp_path):
    import tarfile

    for rng in rounds("webdataset"):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as archive:
            for i in range(6):
                members = {
                    "jpg": mutated(encoded(PICTURE, "JPEG"), rng),
                    "txt": sometimes(b"a bench", mutated(b"a bench", rng), rng),
                    "json": mutated_json({"caption": "x", "captions": {"a": "b"}}, rng).encode(errors="surrogatepass"),
                }
                for kind, content in members.items():
                    member = tarfile.TarInfo(f"{i}.{kind}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        (tmp_path / "0.tar").write_bytes(sometimes(file.getvalue(), mutated(file.getvalue(), rng), rng, 0.7))
        with survived():
            use_all(webdataset.open_source(tmp_path))


class OneRecord(TrajectorySource):
    """A source of the record with these bytes."""

    def __init__(self, content):
        self._length, self._records = 1, [content]

    def where(self, index):
        return "record 0"


def test_records_of_trajectories():
    good = Serializer()(tiny.trajectory())
    for rng in rounds("tf_example"):
        with survived():
            trajectory, crc = OneRecord(mutated(good, rng)).read(0)
            rows, rejected = trajectories.describe([(0, trajectory, crc)], PROCESSOR.tokenizer)
            for mode in modes.MODES.values():
                samples = trajectories.ModeSamples(rows, mode, PROCESSOR)
                if len(samples.records) and samples.costs[0].sum() < 10_000:
                    builder = RowBuilder(PROCESSOR, tiny.CONFIG.geometry)
                    builder.add(modes.conversation(trajectory, mode), samples.segments(0), 0, 0)


# --- pictures


PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
PICTURE = PIL.Image.fromarray(PIXELS)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def turned():
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    return exif


def with_texts():
    info = PIL.PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * 300, zip=True)
    info.add_itxt("prompt", "y" * 300, zip=True)
    return info


KINDS = {
    "PNG": encoded(PICTURE, "PNG"),
    "PNG with texts": encoded(PICTURE, "PNG", pnginfo=with_texts(), icc_profile=bytes(300)),
    "PNG turned": encoded(PICTURE, "PNG", exif=turned()),
    "PNG with a palette": encoded(PICTURE.quantize(16), "PNG", transparency=3),
    "PNG of 16 bits": encoded(PIL.Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257), "PNG"),
    "PNG with transparency": encoded(PICTURE.convert("RGBA"), "PNG"),
    "JPEG": encoded(PICTURE, "JPEG"),
    "JPEG turned": encoded(PICTURE, "JPEG", exif=turned()),
    "JPEG progressive": encoded(PICTURE, "JPEG", progressive=True, icc_profile=bytes(300)),
    "JPEG in CMYK": encoded(PICTURE.convert("CMYK"), "JPEG"),
    "WebP": encoded(PICTURE, "WEBP", exif=turned()),
    "WebP lossless": encoded(PICTURE.convert("RGBA"), "WEBP", lossless=True),
    "GIF": encoded(PICTURE, "GIF"),
    "TIFF": encoded(PICTURE, "TIFF", compression="tiff_lzw"),
    "TIFF turned": encoded(PICTURE, "TIFF", exif=turned()),
    "BMP": encoded(PICTURE, "BMP"),
}


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damage that it reads past
@pytest.mark.parametrize("kind", KINDS)
def test_pictures(kind):
    """Also: where both can be told, the size in the header is that of the picture."""
    assert images.decode(KINDS[kind], "k").size == images.encoded_size(KINDS[kind], "k")
    for rng in rounds(kind):
        content, size = mutated(KINDS[kind], rng), None
        if kind.startswith("PNG") and rng.random() < 0.7:
            content = with_checksums(content)
        with survived():
            size = images.encoded_size(content, "k")
        with survived():
            image = images.decode(content, "k")
            assert size is None or image.size == size
            if max(image.size) < 5000 and 0 not in image.size:
                assert PROCESSOR.vae_transform(image).shape[2] == 3

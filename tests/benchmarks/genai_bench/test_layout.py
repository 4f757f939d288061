"""GenAI-Bench's folder of MODEL/00000.jpeg."""

import io

import numpy as np
import PIL.Image
import pytest

from irg_jax.benchmarks import genai_bench
from irg_jax.core.errors import UserError
from irg_jax.data.images import encode_png
from tests.benchmarks.genai_bench.prompts import read
from tests.benchmarks.pictures import kinds, png


def write(tmp_path, image=lambda item, sample: png(100, 16)):
    prompts = read(tmp_path)
    genai_bench.write_layout(prompts, image, tmp_path / "out", model="org/irg")
    return prompts, tmp_path / "out" / "org" / "irg"


def test_what_is_written_is_found(tmp_path):
    prompts, folder = write(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [f"0000{number}.jpeg" for number in range(5)]
    found = genai_bench.find_images(prompts, tmp_path / "out", model="org/irg")
    assert found.problems == () and len(found.images) == 5
    image = PIL.Image.open(io.BytesIO(found.images["00003", 0]()))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (16, 16))


def test_the_quality_is_95(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    _, folder = write(tmp_path, lambda item, sample: encode_png(noise))
    buffer = io.BytesIO()
    PIL.Image.fromarray(noise).save(buffer, "JPEG", quality=95)
    assert (folder / "00000.jpeg").read_bytes() == buffer.getvalue()


def test_each_problem_is_named(tmp_path):
    prompts, folder = write(tmp_path)
    (folder / "00000.jpeg").rename(folder / "00000.jpg")
    (folder / "00001.jpeg").write_bytes((folder / "00002.jpeg").read_bytes()[:300])
    (folder / "09999.jpeg").write_bytes(png())
    found = genai_bench.find_images(prompts, tmp_path / "out", model="org/irg")
    assert kinds(found) == [
        ("extra", "00000.jpg"),
        ("extra", "09999.jpeg"),
        ("missing", "00000.jpeg"),
        ("unreadable", "00001.jpeg"),
    ]
    assert "only looks for 00000.jpeg" in next(p.reason for p in found.problems if p.where.endswith("00000.jpg"))


def test_an_image_that_cannot_be_decoded_is_not_written(tmp_path):
    with pytest.raises(UserError, match="00000: an image cannot be decoded"):
        write(tmp_path, lambda item, sample: b"no image")

"""OneIG-Bench's grids: written as the official scorer reads them, and everything that is wrong with them is named."""

import io
import shutil

import numpy as np
import PIL.Image
import pytest

from irg_jax.benchmarks import oneig
from irg_jax.core.errors import UserError
from tests.benchmarks.oneig.small import KEYS, color, image, png, read_prompts


@pytest.fixture
def prompts(tmp_path):
    return read_prompts(tmp_path)


@pytest.fixture
def folder(tmp_path, prompts):
    oneig.write_layout(prompts, image, tmp_path / "images", model="irg")
    return tmp_path / "images"


def look(prompts, folder):
    found = oneig.find_images(prompts, folder, model="irg")
    return found, [(one.kind, one.where.removeprefix(f"{folder}/")) for one in found.problems]


def grid(path, size=(64, 48), shade=100):
    PIL.Image.new("RGB", size, (shade, shade, shade)).save(path)


def test_grids_are_lossy_webp_and_cells_are_jpeg(prompts, folder):
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == sorted(f"{key.replace('/', '/irg/')}.webp" for key in KEYS)
    with PIL.Image.open(folder / "anime/irg/000.webp") as file:
        assert file.format == "WEBP" and file.size == (64, 48)
    found, problems = look(prompts, folder)
    assert problems == [] and list(found.images) == [(key, sample) for key in KEYS for sample in range(4)]
    for item in prompts.items:
        for sample in range(4):
            cell = PIL.Image.open(io.BytesIO(found.images[item.key, sample]()))
            assert cell.format == "JPEG" and cell.size == (32, 24)
            middle = np.median(np.asarray(cell, float), axis=(0, 1))  # the edges take colour from the cell beside them
            assert middle == pytest.approx(color(item, sample), abs=4)


def test_cells_are_what_the_official_scorer_saves(prompts, folder):
    found, _ = look(prompts, folder)
    with PIL.Image.open(folder / "human/irg/000.webp") as file:
        expected = io.BytesIO()
        file.crop((32, 0, 64, 24)).save(expected, "JPEG")  # its second cell, with the default quality
    assert found.images["human/000", 1]() == expected.getvalue()


def test_writing_again_changes_nothing_and_another_run_is_refused(prompts, folder):
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*.webp")}
    oneig.write_layout(prompts, image, folder, model="irg")
    assert times == {path: path.stat().st_mtime_ns for path in folder.rglob("*.webp")}
    with pytest.raises(UserError, match="000.webp: is there already and is another one"):
        oneig.write_layout(prompts, lambda item, sample: png((1, 2, 3)), folder, model="irg")


def test_images_of_several_sizes_make_no_grid(tmp_path, prompts):
    with pytest.raises(UserError, match="anime/000: its images have the sizes"):
        oneig.write_layout(prompts, lambda item, i: png((1, 2, 3), (32 + i, 24)), tmp_path / "x", model="irg")


def test_any_extension_and_anything_after_the_id(prompts, folder):
    (folder / "anime/irg/000.webp").unlink()
    grid(folder / "anime/irg/000_final.png")
    found, problems = look(prompts, folder)
    assert problems == [] and len(found.images) == 20


def test_what_is_missing_too_much_or_there_twice(prompts, folder):
    (folder / "anime/irg/000.webp").unlink()
    shutil.copy(folder / "human/irg/000.webp", folder / "human/irg/000.png")
    grid(folder / "text/irg/001.webp")
    grid(folder / "text/irg/cover.png")
    found, problems = look(prompts, folder)
    assert problems == [
        ("extra", "text/irg/001.webp"),
        ("extra", "text/irg/cover.png"),
        ("missing", "anime/irg/000.webp"),
        ("duplicate", "human/irg/000.webp"),
    ]
    assert {key for key, _ in found.images} == {"anime/001", "text/000", "reasoning/007"}


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((63, 48), "cannot be cut into 2 x 2 equal cells"),
        ((64, 47), "cannot be cut into 2 x 2 equal cells"),
        ((128, 24), "cells would be 64 x 12 pixels"),
        ((32, 24), "is 32 x 24 pixels, but most grids are 64 x 48"),  # a single image
    ],
)
def test_a_wrong_grid(prompts, folder, size, reason):
    grid(folder / "anime/irg/001.webp", size)
    found, problems = look(prompts, folder)
    assert problems == [("wrong grid", "anime/irg/001.webp")] and len(found.images) == 16
    assert reason in found.problems[0].reason


def test_black_cells_and_damaged_files_are_unreadable(prompts, folder):
    pixels = np.full((48, 64, 3), 90, np.uint8)
    pixels[24:, :32] = 0
    pixels[:24, :32] = 0
    pixels[0, 0] = (0, 0, 1)  # one pixel that is not black
    PIL.Image.fromarray(pixels).save(folder / "anime/irg/000.webp", lossless=True)
    (folder / "text/irg/000.webp").write_bytes(b"RIFF")
    found, problems = look(prompts, folder)
    assert problems == [("unreadable", "anime/irg/000.webp: cell 2"), ("unreadable", "text/irg/000.webp")]
    assert "counts as failed at the official scorer" in found.problems[0].reason
    assert [sample for key, sample in found.images if key == "anime/000"] == [0, 1, 3]


def test_the_name_of_a_model_cannot_leave_the_folder(tmp_path):
    prompts = read_prompts(tmp_path)
    for call in (
        lambda: oneig.find_images(prompts, tmp_path, model="../other"),
        lambda: oneig.write_layout(prompts, image, tmp_path / "images", model="../other"),
    ):
        with pytest.raises(UserError, match="cannot be a folder"):
            call()
    assert not (tmp_path / "images").exists()

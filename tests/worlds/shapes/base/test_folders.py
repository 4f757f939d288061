"""The data of a base model on disk: read by the package's own sources, and never mixed with anything else."""

import json
import os

import numpy as np
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data import images, labelled
from irg_jax.data.conversation import Image, Text
from irg_jax.data.sources import editing, llava, text_to_image
from irg_jax.worlds.shapes.base import folders
from irg_jax.worlds.shapes.base.painting import captioned, edits
from irg_jax.worlds.shapes.base.plans import Plans
from irg_jax.worlds.shapes.base.understanding import MARK, samples
from irg_jax.worlds.shapes.render import render

ARGUMENTS = {"seed": 3, "count": 24, "size": 32, "manners": ("geneval",)}
PLANS = Plans("train", 32, ("geneval",))
KINDS = ("llava", "text_to_image", "editing")


@pytest.fixture(autouse=True, scope="module")
def few_labelled_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "_LABELLED", {"train": 12, "held_out": 4})
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    for kind in KINDS:
        folders.build(folder / kind, kind, **ARGUMENTS)
    return folder


def conversation(source, index):
    return source.read(index).conversations[0].parts


def pixels(image):
    return np.asarray(images.decode(image.content, "image"))


def test_llava_reads_the_samples_of_understanding(built):
    source = llava.open_source(built / "llava")
    assert len(source) == 24
    for index, (turns, picture) in enumerate(samples(3, PLANS, range(24))):
        parts = conversation(source, index)
        said = [part.content for part in parts if isinstance(part, Text)]
        assert "".join(said).replace("\n", "") == "".join(turns).replace(MARK, "").replace("\n", "")
        shown = [pixels(part) for part in parts if isinstance(part, Image)]
        assert len(shown) == (picture is not None)
        assert all((image == render(picture)).all() for image in shown)


def test_text_to_image_reads_the_captions(built):
    source = text_to_image.open_source(built / "text_to_image")
    assert len(source) == 24
    for index, (picture, captions) in enumerate(captioned(3, PLANS, range(24))):
        parts = conversation(source, index)
        assert parts[0].content in captions.values()
        assert (pixels(parts[1]) == picture).all() and parts[1].need_loss


def test_editing_reads_the_edits(built):
    source = editing.open_source(built / "editing")
    assert len(source) == 24
    for index, (before, instruction, after) in enumerate(edits(3, PLANS, range(24))):
        parts = conversation(source, index)
        shown = [pixels(part) for part in parts if isinstance(part, Image)]
        assert [part.content for part in parts if isinstance(part, Text)] == [instruction]
        assert len(shown) == 2 and (shown[0] == before).all() and (shown[1] == after).all()


def test_the_labelled_pictures_lie_beside_the_samples_of_understanding(built):
    for split, count in (("train", 12), ("held_out", 4)):
        assert len(labelled.read(str(built / "llava" / f"labelled_{split}.npz")).pictures) == count
    assert not list((built / "editing").glob("*.npz"))


@pytest.mark.parametrize("kind", KINDS)
def test_building_again_changes_nothing(built, kind):
    before = {path: path.stat().st_mtime_ns for path in (built / kind).rglob("*")}
    folders.build(built / kind, kind, **ARGUMENTS)
    assert {path: path.stat().st_mtime_ns for path in (built / kind).rglob("*")} == before


@pytest.mark.parametrize(
    ("kind", "changed"),
    [("llava", {"seed": 4}), ("llava", {"count": 25}), ("llava", {"size": 64}), ("editing", {})],
)
def test_a_folder_of_other_arguments_is_refused(built, kind, changed):
    with pytest.raises(UserError, match=f"{built}/llava: holds .*'seed': 3.*, not .*; delete it or choose another"):
        folders.build(built / "llava", kind, **(ARGUMENTS | changed))


def test_a_folder_with_other_files_is_left_unchanged(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else"):
        folders.build(tmp_path, "editing", **ARGUMENTS)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_build_that_was_cut_begins_anew(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(folders._WRITERS, "editing", lambda folder, *_: (folder / "half").write_text("x") and 1 / 0)
        with pytest.raises(ZeroDivisionError):
            folders.build(tmp_path / "edits", "editing", **ARGUMENTS)
    assert not (tmp_path / "edits").exists() and (tmp_path / ".edits.partial" / "half").exists()
    (tmp_path / "edits").mkdir()  # an empty folder is taken
    folders.build(tmp_path / "edits", "editing", **ARGUMENTS)
    assert sorted(path.name for path in (tmp_path / "edits").iterdir()) == [folders.ABOUT, "samples-00000.parquet"]
    assert json.loads((tmp_path / "edits" / folders.ABOUT).read_text())["count"] == 24
    assert not (tmp_path / ".edits.partial").exists()


def test_a_disk_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        folders.build(tmp_path / "file" / "edits", "editing", **ARGUMENTS)


@pytest.mark.parametrize("kind", KINDS)
def test_processes_write_the_same_bytes_as_one(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(folders, "_ROWS", 5)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    folders.build(tmp_path / "one", kind, **ARGUMENTS)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    folders.build(tmp_path / "two", kind, **ARGUMENTS)
    one, two = (
        {file.relative_to(folder): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
        for folder in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two

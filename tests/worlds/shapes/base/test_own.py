"""Samples about pictures that a model has painted, whatever it has painted."""

import re

import numpy as np
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data import labelled
from irg_jax.data.conversation import Image, Text
from irg_jax.data.images import encode_png
from irg_jax.data.sources import editing, llava
from irg_jax.worlds.shapes.base import folders
from irg_jax.worlds.shapes.base.labels import labels_of
from irg_jax.worlds.shapes.base.own import own_samples, tasks
from irg_jax.worlds.shapes.base.plans import Plans, generator, weaker_picture
from irg_jax.worlds.shapes.base.understanding import WHAT_IS_SEEN
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.render import render
from irg_jax.worlds.shapes.scene import MANNERS
from irg_jax.worlds.shapes.score import compare_with_plan
from irg_jax.worlds.shapes.thinking import write_plan, write_seen
from tests import commands

COUNT = 24
PLANS = Plans("train", 32, MANNERS)
ARGUMENTS = {"seed": 3, "count": COUNT, "size": 32, "manners": MANNERS}


def paintings():
    """Each task with a picture that has other faults than were asked for."""
    for index, task in enumerate(tasks(3, PLANS, range(COUNT))):
        picture = weaker_picture(generator(4, 1, index), task.scene, 32)
        yield index, task, picture, render(picture)


def test_half_of_the_texts_are_plans_and_half_say_what_is_to_be_seen():
    captions = [(task.caption, write_plan(task.scene)) for task in tasks(3, PLANS, range(COUNT))]
    assert sum(caption == plan for caption, plan in captions) == COUNT // 2
    assert sum(caption.startswith("Seen: ") for caption, _ in captions) == COUNT // 2
    assert len({caption for caption, _ in captions}) == COUNT


def test_the_turns_say_what_the_picture_shows():
    wrong, questions = 0, set()
    for index, task, picture, pixels in paintings():
        question, answer = own_samples(task, pixels, PLANS, index).turns
        questions.add(question.endswith(WHAT_IS_SEEN))
        wrong += write_seen(picture.content, PLANS.places) not in answer
        assert question.endswith(WHAT_IS_SEEN) or question.startswith(write_plan(task.scene))
    assert questions == {True, False}
    assert wrong <= 2  # the reader takes some pictures of many flaws for others


def test_the_edited_picture_is_as_planned():
    for index, task, _, pixels in paintings():
        before, instruction, after = own_samples(task, pixels, PLANS, index).edit
        assert (before == pixels).all()
        assert not compare_with_plan(read_picture(after), task.scene.plan)
        assert (instruction == "Keep it.") == (not compare_with_plan(read_picture(before), task.scene.plan))


@pytest.fixture
def painted(tmp_path):
    for index, _, _, pixels in paintings():
        folder = tmp_path / "pictures" / f"{index:05d}"
        folder.mkdir(parents=True)
        (folder / "image.png").write_bytes(encode_png(pixels))
    return tmp_path / "pictures"


def test_the_samples_are_read_as_those_of_drawn_pictures_are(painted, tmp_path):
    folders.build_own(tmp_path / "samples", painted, **ARGUMENTS)
    said = llava.open_source(tmp_path / "samples" / "understanding")
    edited = editing.open_source(tmp_path / "samples" / "editing")
    assert len(said) == len(edited) == COUNT
    for index, _, _, pixels in paintings():
        for source in (said, edited):
            parts = source.read(index).conversations[0].parts
            first = next(part for part in parts if isinstance(part, Image))
            assert encode_png(pixels) == first.content
            assert any(isinstance(part, Text) for part in parts)
    labelled_own = labelled.read(tmp_path / "samples" / "understanding" / "labelled_train.npz")
    assert np.array_equal(labelled_own.pictures, np.stack([pixels for *_, pixels in paintings()]))
    wrong = [labels_of(picture.content, PLANS) for _, _, picture, _ in paintings()] != labelled_own.labels
    assert wrong.any(axis=1).sum() <= 2
    before = sorted((tmp_path / "samples").rglob("*"))
    folders.build_own(tmp_path / "samples", painted, **ARGUMENTS)
    assert sorted((tmp_path / "samples").rglob("*")) == before


def test_a_picture_that_is_missing_is_named(painted, tmp_path):
    (painted / "00005" / "image.png").unlink()
    with pytest.raises(UserError, match=re.escape(f"{painted}/00005/image.png: cannot be read (No such file")):
        folders.build_own(tmp_path / "samples", painted, **ARGUMENTS)
    assert not (tmp_path / "samples").exists()


def test_the_command_writes_texts_and_then_samples(painted, tmp_path, capfd):
    out = tmp_path / "own"
    given = [f"--out={out}", "--seed=3", f"--count={COUNT}"]
    assert commands.run_here(capfd, "worlds.shapes.base", *given).returncode == 0
    captions = (out / "captions.txt").read_text().splitlines()
    assert captions == [task.caption for task in tasks(3, PLANS, range(COUNT))]
    assert commands.run_here(capfd, "worlds.shapes.base", *given, f"--pictures={painted}").returncode == 0
    assert len(llava.open_source(out / "samples" / "understanding")) == COUNT

"""Image 1 by the own model: the sampler's images, whatever the batch, sampled once."""

import functools
import hashlib
import io

import numpy as np
import PIL.Image
import pytest

from irg_jax.curation import weak_images
from irg_jax.sampling.engine import load_sampler
from tests import commands
from tests.curation import curating
from tests.curation.curating import KEY

pytestmark = pytest.mark.slow  # trains a model and samples from it

PROMPTS = ["a red circle", "a green square left of a yellow triangle and a blue cross", "three diamonds"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = commands.ROOT / "configs" / "template.py"
    done = commands.run(
        "train", f"--config={config}", f"--workdir={folder}", *commands.small(sampling__max_thinking=(16, 12))
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", KEY)


@pytest.fixture(scope="module")
def load_once():
    """The same sampler for all commands: each one would compile its programs again."""
    return functools.cache(load_sampler)


@pytest.fixture
def curate(capfd, tmp_path, trained, load_once, monkeypatch):
    """Runs all four steps for prompts: the records, and the requests of the teachers."""

    monkeypatch.setattr(weak_images, "load_sampler", load_once)

    def run(name, prompts=PROMPTS, **changes):
        file = tmp_path / f"{name}.txt"
        file.write_text("\n".join(prompts) + "\n")
        steps = ("thinking1", "image1", "image2", "thinking2")
        own = {"steps": steps, "image1__checkpoint": trained, "image1__batch_size": 2}
        with curating.serve(answer) as server:
            status, lines = curating.outcome(capfd, *curating.flags(server, file, tmp_path / name, **(own | changes)))
        assert status == 0, lines
        made = {line["prompt"]: line for line in curating.read_lines(tmp_path / name / "records.jsonl")}
        pixels = {
            prompt: np.asarray(PIL.Image.open(io.BytesIO((tmp_path / name / line["image1"]).read_bytes())))
            for prompt, line in made.items()
        }
        return made, pixels, server, curating.read_lines(tmp_path / name / "rejected.jsonl")

    return run


WORLD = curating.trajectories(1)[0]


def answer(question):
    if question.kind != "chat":
        return WORLD.image2
    return WORLD.thinking2 if question.pictures else "<think> I plan one object. </think>"


@pytest.mark.parametrize("task", ["turn1", "text_to_image"])
def test_the_samplers_images_whatever_the_batch(curate, load_once, trained, tmp_path, task):
    made, pixels, server, _ = curate("all", image1__task=task)
    assert list(made) == PROMPTS
    assert all(line["teachers"]["image1"].endswith(f"step {commands.SMALL['steps']}") for line in made.values())
    shown = {hashlib.sha256(q.pictures[0]).hexdigest() for q in server.questions if len(q.pictures) == 2}
    assert shown == {line["image1"].split("/")[1].split(".")[0] for line in made.values()}, "the teacher saw image 1"

    _, alone, _, _ = curate("alone", PROMPTS[1:2], image1__task=task)
    np.testing.assert_array_equal(alone[PROMPTS[1]], pixels[PROMPTS[1]])
    _, other, _, _ = curate("other", PROMPTS[1:2], image1__task=task, image1__seed=1)
    assert (other[PROMPTS[1]] != pixels[PROMPTS[1]]).any()

    journal = curating.read_lines(tmp_path / "all" / "journal.jsonl")
    keys = {line["picture"]["digest"]: line["sampled"] for line in journal if "sampled" in line}
    index = int(keys[made[PROMPTS[0]]["image1"].split("/")[1].split(".")[0]][:8], 16)
    sampler = load_once(trained)
    if task == "turn1":
        texts = [[made[PROMPTS[0]]["thinking1"]]]
        expected = sampler(PROMPTS[:1], indices=[index], turns=1, thinking=texts)[0].turns[0].image
    else:
        expected = sampler.text_to_image(PROMPTS[:1], indices=[index])[0]
    np.testing.assert_array_equal(pixels[PROMPTS[0]], expected)


def test_an_image_is_sampled_once(curate, monkeypatch):
    curate("out")
    monkeypatch.setattr(weak_images, "load_sampler", None)
    made, _, server, _ = curate("out")
    assert len(made) == 3 and not server.questions


def test_a_text_that_is_too_long_for_the_model_is_one_rejected_record(curate):
    prompts = [PROMPTS[0], "a red circle " * 300, PROMPTS[2]]
    made, _, _, rejected = curate("long", [prompt.strip() for prompt in prompts])
    assert list(made) == [PROMPTS[0], PROMPTS[2]]
    assert (rejected[0]["step"], rejected[0]["rule"]) == ("image1", "not for the model")
    assert "more than sampling.max_prompt" in rejected[0]["reason"]


def test_changes_of_sampling_are_checked_before_anything_is_paid(capfd, tmp_path, trained):
    (tmp_path / "prompts.txt").write_text("x\n")
    own = {"steps": ("thinking1", "image1"), "image1__checkpoint": trained, "image1__sampling": ("time_pionts=3",)}
    with curating.serve(answer) as server:
        flags = curating.flags(server, tmp_path / "prompts.txt", tmp_path / "out", **own)
        status, lines = curating.outcome(capfd, *flags)
        assert not server.questions
    assert status == 2 and "config.sampling.time_pionts: unknown key; did you mean time_points?" in lines[-1]

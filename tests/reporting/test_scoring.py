"""What the scorer says about a sample, and the statistics of the report."""

import io
import pathlib

import pytest
from PIL import Image

from irg_jax.reporting import page, scoring
from irg_jax.reporting.load import Run, Sample, Turn
from irg_jax.worlds.shapes.manners import MANNERS, kinds_of
from irg_jax.worlds.shapes.scene import Scene
from irg_jax.worlds.shapes.world import make_trajectory


def sample_of(index, manners=MANNERS[:1], **changes):
    """The record ``index`` as a sample: a weak picture and the improved one."""
    record = make_trajectory(3, "held_out", index, manners=manners)
    texts = {"thinking1": record.thinking1, "thinking2": record.thinking2} | changes
    pictures = [Image.open(io.BytesIO(content)).convert("RGB") for content in (record.image1, record.image2)]
    turns = (Turn(texts["thinking1"], pictures[0], True), Turn(texts["thinking2"], pictures[1], True))
    return Sample(pathlib.Path(f"{index:05d}/trajectory.json"), record.prompt, index, 0, "run", 40, record.scene, turns)


def test_the_records_of_the_world_see_everything_and_keep_everything():
    for index in range(12):
        score = scoring.score_sample(sample_of(index))
        assert score.reading.seen and score.reading.exact and score.held_out
        assert score.kept == pytest.approx(1.0, abs=0.02)
        assert score.turns[1].correct


def test_a_text_about_another_picture_neither_sees_nor_names():
    other = make_trajectory(3, "held_out", 1)
    reading = scoring.score_sample(sample_of(0, thinking2=other.thinking2)).reading
    assert not reading.seen and not reading.exact


def test_without_a_plan_there_are_no_faults_but_the_picture_is_seen():
    score = scoring.score_sample(sample_of(0, thinking1="<think> no plan </think>"))
    assert score.reading.faults is None and not score.reading.exact and score.kept is None
    assert score.reading.seen


def test_faults_are_those_against_the_own_plan_and_not_the_scene():
    sample = sample_of(0)
    planned = Scene.from_json(sample.scene).objects
    elsewhere = make_trajectory(3, "held_out", 1)
    score = scoring.score_sample(sample_of(0, thinking1=elsewhere.thinking1))
    assert {fault.planned for fault in score.reading.faults} - {None, *planned}


def test_every_benchmark_in_whose_manner_prompts_are_has_a_mean_of_its_own_kinds():
    samples = [sample_of(index, MANNERS) for index in range(4 * len(MANNERS))]
    run = Run(pathlib.Path("run"), {}, {}, [], samples, None, {})
    summary = scoring.summarise_run(run, scoring.score_run(run))
    turn = summary["turn2"]
    assert list(turn["manners"]) == list(MANNERS)
    assert set(turn["manners"].values()) == {1.0} == {share["share"] for share in turn["kinds"].values()}
    kinds = [item["kind"] for item in summary["items"]]
    assert kinds[:2] == ["single_object", f"wise: {kinds_of('wise')[0]}"]
    first = summary["turn1"]
    own = [share["share"] for name, share in first["kinds"].items() if name.startswith("tiif: ")]
    assert first["manners"]["tiif"] == pytest.approx(sum(own) / len(own))
    rows = page._scores(summary)
    assert "mean of genai bench" in rows and "wise: " in rows


def test_the_sign_test_is_exact():
    assert scoring.sign_test(9, 1) == pytest.approx(22 / 1024)
    assert scoring.sign_test(0, 0) == 1.0

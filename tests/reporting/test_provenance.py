"""The page says of a run what its own record says: weights, data, evaluation, and whether the reflection is right."""

import json

import pytest

from irg_jax.reporting import provenance
from irg_jax.reporting.build import build_report
from irg_jax.reporting.load import load_run
from tests.reporting.folders import write_sample, write_stage

SHAPES = {"sources": {"shapes": {"format": "irgl", "dir": "{workdir}/data", "world": {"seed": 3}}}}
OWN = {"sources": {"own": {"format": "irgl", "dir": "mine", "world": None}}}
IRGL = {"sources": {"irgl": {"format": "published", "dir": "/data/IRGL", "world": None}}}


def _run(folder, config):
    write_stage(folder)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("config", "weights"),
    [
        ({"init_from": ""}, "trained from scratch"),
        ({"init_from": "/runs/1"}, "from the EMA weights of /runs/1, which is not a part of this run"),
        (
            {"stages": {"b": {"init_from": "{workdir}/a"}, "a": {"init_from": ""}}},
            "a: trained from scratch; b: from the EMA weights of a of this run",
        ),
        (
            {"stages": {"a": {"init_from": "{workdir}/bagel"}}},
            "from the EMA weights of {workdir}/bagel, which is not a part of this run",
        ),
        (
            {"init_from": "base", "lora": {"rank": 8}},
            "LoRA of rank 8 beside the fixed weights of base, which is not a part of this run",
        ),
        ({"stages": {}}, "the config does not say"),
        ({"stages": [1], "data": "?"}, "the config does not say"),
        ({}, "the config does not say"),
    ],
)
def test_the_page_says_where_the_weights_come_from(tmp_path, config, weights):
    assert provenance.weights_of(load_run(_run(tmp_path, config))) == weights
    build_report(tmp_path)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert f"<li>weights <b>{weights}</b></li>" in text
    assert ("trained from scratch" in text) == ("trained from scratch" in weights)


@pytest.mark.parametrize(
    ("config", "data"),
    [
        ({"data": SHAPES}, "the split train of the shapes world"),
        ({"data": OWN}, "mine (format irgl)"),
        ({"stages": {"a": {"data": IRGL}, "b": {"data": IRGL}}}, "/data/IRGL (format published)"),
        (
            {"stages": {"a": {"data": SHAPES}, "b": {"data": IRGL}}},
            "a: the split train of the shapes world; b: /data/IRGL (format published)",
        ),
        ({"data": {"sources": 1}}, "the config does not say"),
    ],
)
def test_the_page_says_on_what_was_trained(tmp_path, config, data):
    build_report(_run(tmp_path, config))
    assert f"<li>training data <b>{data}</b></li>" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("config", "scored", "claimed"),
    [
        ({"data": SHAPES}, True, True),
        ({"stages": {"a": {"data": SHAPES}, "b": {"data": SHAPES}}}, True, True),
        ({"stages": {"a": {"data": SHAPES}, "b": {"data": IRGL}}}, True, False),
        ({"data": OWN}, True, False),
        ({"data": IRGL}, True, False),
        ({}, True, False),
        ({"data": SHAPES}, False, False),
    ],
)
def test_only_a_run_trained_and_scored_on_the_shapes_world_claims_held_out_combinations(
    tmp_path, config, scored, claimed
):
    write_sample(_run(tmp_path, config), 0, scene=scored)
    build_report(tmp_path)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert ("No combination of objects" in text) == claimed == ("Held-out prompts" in text)


def test_a_scored_prompt_of_the_training_split_is_not_called_held_out(tmp_path):
    write_sample(_run(tmp_path, {"data": SHAPES}), 0)
    write_sample(tmp_path, 1, split="train")
    scores = build_report(tmp_path)
    assert (scores["scored"], scores["held_out"]) == (2, 1)
    assert "No combination of objects" not in (tmp_path / "report.html").read_text("utf-8")


def test_the_page_says_of_the_reflection_what_the_scores_say(tmp_path):
    for index in range(2):
        write_sample(_run(tmp_path, {"data": SHAPES}), index, right=(False, True))
    scores = build_report(tmp_path)
    faulty = scores["reflection"]["faulty"]
    text = (tmp_path / "report.html").read_text("utf-8")
    assert (faulty["correct"], faulty["count"]) == (0, 2)
    assert "thinking 2 names exactly these faults in none of 2 cases" in text
    assert text.count("does not name exactly what is wrong") == 2
    assert "Where nothing is wrong" not in text

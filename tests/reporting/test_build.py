"""The report of a run folder: its numbers, its page, its errors."""

import html.parser
import json

import pytest
from PIL import Image

from irg_jax.core.errors import UserError
from irg_jax.reporting.build import build_report
from irg_jax.reporting.load import load_run
from tests.reporting.folders import write_sample, write_stage

_EVIL = '<script>alert("x")</script> & <b>'


@pytest.fixture
def workdir(tmp_path):
    folder = tmp_path / "run"
    write_stage(folder / "stage1")
    write_stage(folder / "stage2")
    stages = {
        "stage1": {"data": {"initial_target": "draft"}, "init_from": ""},
        "stage2": {"data": {"initial_target": "draft"}, "init_from": "{workdir}/stage1"},
    }
    (folder / "config.json").write_text(json.dumps({"stages": stages, "evaluate": {"dir": _EVIL}}))
    (folder / "run.json").write_text(json.dumps({"command": _EVIL, "commit": "abc1234", "seconds": {"stage1": 75.2}}))
    # Indices 0 and 6 are both of the first kind, 1 and 7 both of the second.
    write_sample(folder, 0, right=(False, True))
    write_sample(folder, 6, right=(False, True))
    write_sample(folder, 1, right=(True, False))
    write_sample(folder, 7, right=(True, True))
    turns = [{"thinking": _EVIL, "image": f"turn{turn}.png", "complete": turn == 1} for turn in (1, 2)]
    write_sample(folder, 8, scene=False, prompt=_EVIL, turns=turns, checkpoint=_EVIL)
    return folder


def test_scores_count_both_turns_by_kind(workdir):
    returned = build_report(workdir)
    scores = json.loads((workdir / "scores.json").read_text())
    assert scores == returned
    assert (scores["samples"], scores["scored"], scores["initial_target"]) == (5, 4, "draft")
    kinds = {name: (kind["correct"], kind["count"]) for name, kind in scores["turn1"]["kinds"].items()}
    assert kinds == {"single_object": (0, 2), "two_object": (2, 2)}
    assert scores["turn1"]["overall"] == 0.5 and scores["turn2"]["overall"] == 0.75
    assert scores["turn2"]["pooled"]["share"] == 0.75
    assert scores["turn2"]["detail"] == pytest.approx(0.75)
    change = {"both_correct": 1, "fixed": 2, "broken": 1, "both_wrong": 0, "sign_test_p": 1.0}
    assert scores["change"] == change
    assert (scores["four_parts"]["correct"], scores["four_parts"]["count"]) == (4, 5)
    assert scores["complete"]["correct"] == 4
    # Image 1 of samples 0 and 6 is empty and so departs from its plan; that of 1 and 7 follows it.
    assert scores["reflection"]["faulty"]["count"] == scores["reflection"]["faultless"]["count"] == 2
    assert [item["turn1"]["correct"] for item in scores["items"][:4]] == [False, True, False, True]
    assert scores["items"][0]["turn1"]["reasons"]


class _Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def test_the_page_is_self_contained_and_escapes_every_text(workdir):
    build_report(workdir)
    text = (workdir / "report.html").read_text()
    page = _Page()
    page.feed(text)
    assert page.links and all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert "http" not in text and "url(" not in text and "@import" not in text
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "iframe", "object"}
    assert _EVIL not in text and "&lt;script&gt;alert" in text
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags
    assert "prefers-color-scheme: dark" in text and "max-width: 640px" in text
    assert "trained to generate the weak draft" in text and "Training: stage2" in text and "abc1234" in text
    assert text.count("<svg") == 10 and text.count('<article class="card">') == 5
    assert "cut off: ran out of tokens" in text
    assert Image.open(workdir / "report.png").width > 1000


@pytest.mark.parametrize(("target", "sentence"), [("good", "as in the published recipe"), (None, "does not say")])
def test_the_page_names_the_target_of_the_first_turn(workdir, target, sentence):
    (workdir / "config.json").write_text(json.dumps({"data": {"initial_target": target}} if target else {}))
    build_report(workdir)
    assert sentence in (workdir / "report.html").read_text()


@pytest.mark.parametrize(
    ("config", "from_scratch"),
    [
        ({"stages": {"a": {"init_from": ""}, "b": {"init_from": "{workdir}/a"}}}, True),
        ({"stages": {"a": {"init_from": "converted"}, "b": {"init_from": "{workdir}/a"}}}, False),
        ({"init_from": ""}, True),
        ({"init_from": "/runs/stage1"}, False),
        ({"stages": {}}, False),
        ({}, False),
        ({"stages": [1], "data": "?"}, False),
    ],
)
def test_only_a_config_without_other_weights_is_said_to_train_from_scratch(workdir, config, from_scratch):
    (workdir / "config.json").write_text(json.dumps(config))
    assert load_run(workdir).from_scratch == from_scratch
    build_report(workdir)
    assert ("trained from scratch" in (workdir / "report.html").read_text()) == from_scratch


def test_metrics_alone_make_a_page(tmp_path):
    write_stage(tmp_path)
    scores = build_report(tmp_path)
    assert scores["scored"] == 0 and scores["turn1"]["overall"] is None
    text = (tmp_path / "report.html").read_text()
    assert "no samples in this run folder" in text and "Training: train" in text
    assert not (tmp_path / "report.png").exists()


def test_samples_alone_make_a_page(tmp_path):
    write_sample(tmp_path, 0, scene=False)
    build_report(tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "no scored samples" in text and "not scored" in text and "Training:" not in text
    assert "combination of objects" not in text


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "turn2.png").write_bytes(b"\x89PNG broken"), r"turn2\.png: not a readable image"),
        (lambda folder: (folder / "turn2.png").unlink(), r"turn2\.png: .*the file does not exist"),
        (lambda folder: (folder / "trajectory.json").write_text("{"), r"trajectory\.json: not JSON"),
        (lambda folder: (folder / "trajectory.json").write_text("[]"), r"trajectory\.json: holds a list"),
        (lambda folder: (folder / "trajectory.json").write_text('{"turns": [1, 2]}'), r"'prompt' is missing"),
        (lambda folder: (folder / "trajectory.json").write_text('{"turns": []}'), "not a two-turn trajectory"),
    ],
)
def test_a_broken_sample_is_named(tmp_path, break_it, message):
    break_it(write_sample(tmp_path, 0))
    with pytest.raises(UserError, match=message):
        build_report(tmp_path)


def test_a_broken_scene_is_named(tmp_path):
    folder = write_sample(tmp_path, 0)
    record = json.loads((folder / "trajectory.json").read_text())
    (folder / "trajectory.json").write_text(json.dumps(record | {"scene": "{}"}))
    with pytest.raises(UserError, match=r"00000/trajectory\.json: scene"):
        build_report(tmp_path)

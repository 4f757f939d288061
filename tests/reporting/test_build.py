"""The report of a run folder: its numbers, its page, its errors."""

import errno
import html.parser
import json
import os
import shutil

import pytest
from PIL import Image

from irg_jax.core.errors import UserError
from irg_jax.reporting import load
from irg_jax.reporting.build import build_report
from irg_jax.reporting.load import load_run
from tests.reporting.folders import write_perception, write_sample, write_stage

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
    assert scores["turn2"]["detail"] == pytest.approx(0.75, abs=0.01)
    change = {"both_correct": 1, "fixed": 2, "broken": 1, "both_wrong": 0, "sign_test_p": 1.0}
    assert {name: scores["change"][name] for name in change} == change
    assert (scores["change"]["repaired"]["share"], scores["change"]["damaged"]["share"]) == (1.0, 0.5)
    assert scores["change"]["overall"]["value"] == 0.25
    assert (scores["four_parts"]["correct"], scores["four_parts"]["count"]) == (4, 5)
    assert scores["complete"]["correct"] == 4
    # Image 1 of samples 0 and 6 is empty and so departs from its plan; that of 1 and 7 follows it.
    assert scores["reflection"]["faulty"]["count"] == scores["reflection"]["faultless"]["count"] == 2
    assert scores["perception"] is None and 0 <= scores["kept"] <= 1
    assert [item["turn1"]["correct"] for item in scores["items"][:4]] == [False, True, False, True]
    assert scores["items"][0]["turn1"]["reasons"]


def test_perception_stands_beside_that_of_the_own_drafts(workdir):
    write_perception(workdir, right=(True, False))
    scores = build_report(workdir)
    assert (scores["perception"]["step"], scores["perception"]["balanced"]) == (40, 0.5)
    text = (workdir / "report.html").read_text()
    assert '<a href="#perception">' in text and "of the checkpoint of step 40" in text
    assert '<span>Faults rightly named, balanced</span><b class="">50.0 %</b>' in text
    assert "given pictures: 1 of 1 faulty, 0 of 1 faultless" in text and "Kept by turn 2" in text
    write_sample(workdir, 2, step=80)
    assert build_report(workdir, step=80)["perception"] is None
    assert build_report(workdir, step=40)["perception"]["balanced"] == 0.5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"records": [{}]}, "the key 'step' is missing"),
        ({"step": 1, "records": [{"seen": True, "faults": []}]}, "the key 'named' is missing"),
        ({"step": 1, "records": [{"seen": True, "named": None, "faults": [{"kind": "odd"}]}]}, "'odd' is not a kind"),
        ({"step": None, "records": [1]}, "not a measured perception"),
        ([], "holds a list"),
    ],
)
def test_a_broken_perception_is_named(tmp_path, values, message):
    write_stage(tmp_path)
    (tmp_path / "perception.json").write_text(json.dumps(values))
    with pytest.raises(UserError, match=rf"perception\.json: .*{message}"):
        build_report(tmp_path)


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


def test_a_run_without_samples_has_no_empty_sections(tmp_path):
    write_stage(tmp_path)
    scores = build_report(tmp_path)
    assert scores["scored"] == 0 and scores["turn1"]["overall"] is None
    text = (tmp_path / "report.html").read_text()
    assert "Training: train" in text and "not yet: the run has no samples" in text
    assert 'href="#training"' in text and "#scores" not in text and "#gallery" not in text
    assert "Turn 1 against turn 2" not in text and "thinking 2" not in text and "combination" not in text
    assert not (tmp_path / "report.png").exists()


def test_samples_alone_make_a_page(tmp_path):
    write_sample(tmp_path, 0, scene=False)
    build_report(tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "1 sample of the checkpoint of step 40, none of them scored" in text and "Training:" not in text
    assert "#gallery" in text and "#training" not in text and "#scores" not in text and "#perception" not in text
    assert "Held-out prompts" not in text and "combination of objects" not in text
    assert "Whether thinking 2 is true of image 1 was not measured" in text


def test_samples_of_one_step_are_taken_alone(tmp_path):
    write_sample(tmp_path, 0)
    write_sample(tmp_path, 1, step=80)
    assert build_report(tmp_path)["samples"] == 2
    assert build_report(tmp_path, step=80)["steps"] == [80]
    with pytest.raises(UserError, match=r"--step 60: .* no samples of that step; its samples are of step 40, 80"):
        build_report(tmp_path, step=60)


def test_a_picture_of_samples_that_are_gone_goes_too(tmp_path):
    write_stage(tmp_path)
    folder = write_sample(tmp_path, 0)
    build_report(tmp_path)
    folder.rename(tmp_path / "elsewhere")
    build_report(tmp_path)
    assert not (tmp_path / "report.png").exists()


def test_hidden_folders_do_not_count(tmp_path):
    write_stage(tmp_path / "stage1")
    write_stage(tmp_path / ".ipynb_checkpoints")
    write_sample(tmp_path, 0)
    for name in (".ipynb_checkpoints", "_old"):
        shutil.copytree(tmp_path / "samples" / "00000", tmp_path / "samples" / name)
    run = load_run(tmp_path)
    assert [stage.name for stage in run.stages] == ["stage1"] and len(run.samples) == 1


@pytest.mark.parametrize("name", ["report.html", "report.png", "scores.json"])
def test_what_cannot_be_written_is_said_before_anything_is_read(tmp_path, monkeypatch, name):
    write_stage(tmp_path)
    (tmp_path / name).mkdir()
    monkeypatch.setattr(load, "load_run", lambda *_: pytest.fail("read first"))
    with pytest.raises(UserError, match="is a folder; give a file"):
        build_report(tmp_path)


def test_a_report_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    write_stage(tmp_path)
    build_report(tmp_path)
    before = (tmp_path / "report.html").read_bytes()

    def fail(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UserError, match=r"scores\.json: cannot be written \(No space left on device\)"):
        build_report(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.csv", "report.html", "scores.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"seconds": [1]}', b'{"seconds": {"data": "x"}}'])
def test_a_broken_run_json_only_costs_its_times(tmp_path, caplog, content):
    write_stage(tmp_path)
    (tmp_path / "run.json").write_bytes(content)
    build_report(tmp_path)
    assert "run.json" in caplog.text and "goes without the times" in caplog.text


@pytest.mark.parametrize("content", [b"", b" \n", b"{", b"[]", b"\xff", b'{"a": "\\ud800"}'])
def test_a_broken_config_is_named(tmp_path, content):
    write_stage(tmp_path)
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(
        UserError, match=r"config\.json:? (is empty|not JSON|holds a list|has half)|config\.json: is empty"
    ):
        build_report(tmp_path)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "turn2.png").write_bytes(b"\x89PNG broken"), r"turn2\.png: not a readable image"),
        (lambda folder: (folder / "turn2.png").unlink(), r"turn2\.png: .*the file does not exist"),
        (lambda folder: (folder / "trajectory.json").write_text("{"), r"trajectory\.json: not JSON"),
        (lambda folder: (folder / "trajectory.json").write_text(""), r"trajectory\.json: is empty"),
        (lambda folder: (folder / "trajectory.json").write_bytes(b"\xe9"), r"trajectory\.json: not JSON"),
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

"""The report of a run folder: its numbers, its page, its errors."""

import html.parser
import json
import math

import pytest
from PIL import Image

from irg_jax import report
from irg_jax.data.shapes.world import make_trajectory
from irg_jax.errors import UserError
from irg_jax.reporting import curves, gallery, scoring

_EVIL = '<script>alert("x")</script> & <b>'


def _stage(folder, steps=40):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        f"{step},{3 / step!r},{2 / step!r},{1 / step!r},{1 / step!r},1000.0,0.9,0.01,0.09" for step in range(1, steps)
    ]
    header = "step,loss,ce,mse,loss/initial_full_learning,tokens_per_s,fill/und,time/data,time/compute"
    (folder / "metrics.csv").write_text("\n".join([header, *rows]) + "\n")


def _sample(workdir, index, *, right=(True, True), scene=True, **changes):
    """A sample whose pictures show what its prompt wants, or nothing at all where not `right`."""
    trajectory = make_trajectory(3, "held_out", index)
    folder = workdir / "samples" / f"{index:05d}"
    folder.mkdir(parents=True)
    for name, good in zip(("turn1.png", "turn2.png"), right, strict=True):
        if good:
            (folder / name).write_bytes(trajectory.image2)
        else:
            Image.new("RGB", (32, 32), (238, 238, 238)).save(folder / name)
    turns = [
        {"thinking": text, "image": f"turn{turn}.png", "complete": True}
        for turn, text in ((1, trajectory.thinking1), (2, trajectory.thinking2))
    ]
    record = {"prompt": trajectory.prompt, "seed": index, "index": index, "checkpoint": "stage1/40", "step": 40}
    record |= {"turns": turns, "scene": trajectory.scene if scene else ""} | changes
    (folder / "trajectory.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def workdir(tmp_path):
    folder = tmp_path / "run"
    _stage(folder / "stage1")
    _stage(folder / "stage2")
    (folder / "config.json").write_text(json.dumps({"stage1": {"data": {"initial_target": "draft"}}, "x": _EVIL}))
    (folder / "run.json").write_text(json.dumps({"command": _EVIL, "commit": "abc1234", "seconds": {"stage1": 75.2}}))
    # Indices 0 and 6 are both of the first kind, 1 and 7 both of the second.
    _sample(folder, 0, right=(False, True))
    _sample(folder, 6, right=(False, True))
    _sample(folder, 1, right=(True, False))
    _sample(folder, 7, right=(True, True))
    turns = [{"thinking": _EVIL, "image": f"turn{turn}.png", "complete": turn == 1} for turn in (1, 2)]
    _sample(folder, 8, scene=False, prompt=_EVIL, turns=turns, checkpoint=_EVIL)
    return folder


def test_scores(workdir):
    assert report.main([str(workdir)]) == 0
    scores = json.loads((workdir / "scores.json").read_text())
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
    # Pictures 1 of samples 0 and 6 are empty, so they depart from their plan; those of 1 and 7 follow it.
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


def test_page_is_whole_and_safe(workdir):
    report.build_report(workdir)
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
    assert "trained to paint the weak draft" in text and "Training: stage2" in text and "abc1234" in text
    assert text.count("<svg") == 10 and text.count('<article class="card">') == 5
    assert "cut off: ran out of tokens" in text
    assert Image.open(workdir / "report.png").width > 1000


@pytest.mark.parametrize(("target", "says"), [("good", "as in the published recipe"), (None, "does not say")])
def test_page_names_the_first_target(workdir, target, says):
    (workdir / "config.json").write_text(json.dumps({"data": {"initial_target": target}} if target else {}))
    report.build_report(workdir)
    assert says in (workdir / "report.html").read_text()


def test_metrics_alone_make_a_page(tmp_path):
    _stage(tmp_path)
    scores = report.build_report(tmp_path)
    assert scores["scored"] == 0 and scores["turn1"]["overall"] is None
    text = (tmp_path / "report.html").read_text()
    assert "no samples in this run folder" in text and "Training: train" in text
    assert not (tmp_path / "report.png").exists()


def test_samples_alone_make_a_page(tmp_path):
    _sample(tmp_path, 0, scene=False)
    report.build_report(tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "no scored samples" in text and "not scored" in text and "Training:" not in text


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "turn2.png").write_bytes(b"\x89PNG broken"), r"turn2\.png: not a picture"),
        (lambda folder: (folder / "turn2.png").unlink(), r"turn2\.png: .*not there"),
        (lambda folder: (folder / "trajectory.json").write_text("{"), r"trajectory\.json: not JSON"),
        (lambda folder: (folder / "trajectory.json").write_text("[]"), r"trajectory\.json: holds a list"),
        (lambda folder: (folder / "trajectory.json").write_text('{"turns": [1, 2]}'), r"'prompt' is missing"),
        (lambda folder: (folder / "trajectory.json").write_text('{"turns": []}'), "not a two-turn trajectory"),
    ],
)
def test_broken_sample_is_named(tmp_path, break_it, message):
    break_it(_sample(tmp_path, 0))
    with pytest.raises(UserError, match=message):
        report.build_report(tmp_path)


def test_broken_scene_is_named(tmp_path):
    folder = _sample(tmp_path, 0)
    record = json.loads((folder / "trajectory.json").read_text())
    (folder / "trajectory.json").write_text(json.dumps(record | {"scene": "{}"}))
    with pytest.raises(UserError, match=r"00000/trajectory\.json: scene"):
        report.build_report(tmp_path)


def test_command_errors_are_one_line(tmp_path, capsys):
    assert report.main([str(tmp_path / "none")]) == 2
    assert report.main([str(tmp_path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("error: ") for line in lines)
    assert "no such folder" in lines[0] and "no metrics.csv and no samples" in lines[1]


def test_thinking_is_formatted():
    steps = "### Step-by-Step Modification Guidance:\n1. Add <it>. 2. Sharpen.\n- so\n- and so"
    text = f"<think> Dull & pale.\n{steps} </think>"
    assert gallery.thinking_html(text) == (
        "<p>Dull &amp; pale.</p><h4>Step-by-Step Modification Guidance</h4>"
        "<ol><li>Add &lt;it&gt;.</li><li>Sharpen.</li></ol><ul><li>so</li><li>and so</li></ul>"
    )


def test_gallery_takes_kinds_in_turn():
    judged = [(name, scoring.Verdict(name[0], (None, None), None, False)) for name in ("a1", "a2", "a3", "b1")]
    assert [name for name, _ in gallery.in_turn(judged, 3)] == ["a1", "b1", "a2"]


def test_wilson_and_sign_test():
    low, high = scoring.wilson(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert scoring.wilson(0, 5)[0] == 0.0 and scoring.wilson(5, 5)[1] == 1.0
    assert scoring.sign_test(9, 1) == pytest.approx(22 / 1024)
    assert scoring.sign_test(0, 0) == 1.0


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize(
    "values", [[1.0], [0.5] * 9, [0.0, 1e-30, 1e30], [math.nan, 2.0, math.inf, 3.0], [-1.0, 4.0], [3e4, 3.1e4]]
)
def test_charts_stand_any_numbers(values, log):
    drawn = curves.chart("a & b", [("<x>", list(enumerate(values)))], log=log, raw=True)
    assert "nan" not in drawn and "inf" not in drawn and "a &amp; b" in drawn and "&lt;x&gt;" in drawn


def test_chart_without_points_is_nothing():
    assert curves.chart("none", [("x", []), ("y", [(1, math.nan)])], log=False, raw=True) == ""


def test_smoothing_keeps_a_constant():
    assert curves.smooth([(step, 2.0) for step in range(200)])[-1] == (199, pytest.approx(2.0))

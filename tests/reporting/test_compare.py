"""Runs beside each other: curves, settings that differ, final figures, and the errors of the comparison."""

import html.parser
import json

import pytest

from irg_jax.core.errors import UserError
from irg_jax.reporting import compare, load
from irg_jax.reporting.compare import build_comparison, run_names
from irg_jax.reporting.load import load_run
from tests.reporting.folders import write_perception, write_sample, write_stage

EVIL = '<script>alert("x")</script> & <b>'


def make_run(folder, lr, *, stages=("stage1",), validation=False, **info):
    for name in stages:
        write_stage(folder / name, validation=validation)
    values = {"optim": {"lr": lr, "b1": 0.9}, "init_from": "", "note": EVIL, "data": {"dir": "x", "format": "irgl"}}
    (folder / "config.json").write_text(json.dumps({"stages": dict.fromkeys(stages, values)}))
    (folder / "run.json").write_text(json.dumps({"seconds": {"stage1": 75.2}} | info))
    return folder


class Page(html.parser.HTMLParser):
    """Rows of the tables, and every tag and link."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.links, self.rows = [], [], []
        self._cell = False
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag == "tr":
            self.rows.append([])
        self._cell = tag in ("td", "th")
        if self._cell:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self._cell = False

    def handle_data(self, data):
        if self._cell:
            self.rows[-1][-1] += data


def rows_of(path):
    return {row[0]: row[1:] for row in Page(path).rows}


def test_the_page_has_curves_settings_and_figures_of_both_runs(tmp_path):
    first = make_run(tmp_path / "one", 0.1, validation=True)
    second = make_run(tmp_path / "two", 0.2, commit="abc1234")
    write_sample(first, 0, right=(False, True))
    write_sample(second, 0, right=(True, True))
    write_perception(second)
    build_comparison([first, second], first / "comparison.html")
    text = (first / "comparison.html").read_text("utf-8")
    # Loss, ce, mse, tokens/s with a line for each run; validation of the first only, and in its colour.
    assert text.count("<svg") == 5 and text.count('class="line c0"') == 5 and text.count('class="line c1"') == 4
    rows = rows_of(first / "comparison.html")
    assert rows["figure"] == rows["config"] == ["one", "two"]
    assert rows["stages.stage1.optim.lr"] == ["0.1", "0.2"]
    assert "stages.stage1.optim.b1" not in rows
    assert rows["turn 1: correct, mean of the kinds"] == ["0.0 %", "100.0 %"]
    assert rows["turn 2: correct images"] == ["1 of 1", "1 of 1"]
    assert rows["own drafts: thinking 2 names exactly the faults"] == ["0 of 1", "—"]
    assert rows["given pictures: thinking 2 names exactly the faults"] == ["—", "1 of 1"]
    assert rows["given pictures: mean of faulty and faultless"] == ["—", "100.0 %"]
    assert rows["image 2 keeps what image 1 has right, 0 to 1"][1] == "1.00"
    assert rows["stage1: steps"] == ["39", "39"]
    assert rows["stage1: last validation loss"] == ["0.5", "—"]
    assert rows["seconds of phase stage1"] == ["75.2 (1 min 15 s)"] * 2
    assert rows["commit"] == ["—", "abc1234"]


def test_the_page_is_self_contained_and_escapes_every_text(tmp_path):
    first = make_run(tmp_path / "<b>one", 0.1, commit=EVIL, seconds={EVIL: 1.0})
    second = make_run(tmp_path / "two", EVIL)
    write_sample(first, 0, scene=False, prompt=EVIL)
    build_comparison([first, second], tmp_path / "page.html")
    page, text = Page(tmp_path / "page.html"), (tmp_path / "page.html").read_text("utf-8")
    assert page.links and all(link.startswith("#") for link in page.links)
    assert "http" not in text and "url(" not in text and "@import" not in text
    assert not set(page.tags) & {"script", "link", "iframe", "object", "b1"}
    assert EVIL not in text and "<b>one" not in text and "&lt;script&gt;alert" in text
    assert "prefers-color-scheme: dark" in text


def test_stages_that_differ_follow_each_other(tmp_path):
    runs = [make_run(tmp_path / "one", 1), make_run(tmp_path / "two", 1, stages=("stage1", "stage2"))]
    build_comparison(runs, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "All stages" in text and "steps are counted on" in text and text.count('class="line c1"') == 4


def test_runs_without_metrics_have_no_curves_and_equal_configs_no_table(tmp_path):
    for name in ("one", "two"):
        write_sample(tmp_path / name, 0)
        (tmp_path / name / "config.json").write_text('{"seed": 1}')
    build_comparison([tmp_path / "one", tmp_path / "two"], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "<svg" not in text and "#curves" not in text and "The configs are the same." in text


def test_scores_of_different_prompts_are_said_not_to_compare(tmp_path):
    for name, index in (("one", 0), ("two", 1)):
        write_sample(tmp_path / name, index)
    build_comparison([tmp_path / "one", tmp_path / "two"], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "scored on different prompts" in text and "without a config.json: one, two" in text


def test_names_tell_the_runs_apart(tmp_path):
    for name in ("a/run", "b/run", "c"):
        write_stage(tmp_path / name)
    runs = [load_run(tmp_path / name) for name in ("a/run", "b/run", "c")]
    assert run_names(runs)[:2] == ["a/run", "b/run"]
    assert run_names(runs[1:]) == ["run", "c"]


def test_twelve_runs_have_lines_of_their_own_and_more_are_refused(tmp_path):
    runs = [make_run(tmp_path / f"run{i}", i) for i in range(13)]
    build_comparison(runs[:12], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert all(f'class="line c{i}"' in text and f'class="line c{i} dashed"' in text for i in range(6))
    with pytest.raises(UserError, match="13 runs are too many"):
        build_comparison(runs, tmp_path / "page.html")


def test_errors_come_before_anything_is_read(tmp_path, monkeypatch):
    run = make_run(tmp_path / "one", 0.1)
    monkeypatch.setattr(load, "load_run", lambda *_: pytest.fail("read first"))
    for runs, path, message in (
        ([run, tmp_path / "none"], tmp_path / "x.html", "none: no such folder"),
        ([run, run], tmp_path / "x.html", "is given twice"),
        ([run, make_run(tmp_path / "two", 1)], tmp_path, "is a folder; give a file"),
        ([run, tmp_path / "two"], tmp_path / "none" / "x.html", "there is no folder"),
    ):
        with pytest.raises(UserError, match=message):
            compare.build_comparison(runs, path)


def test_a_step_without_samples_names_the_run(tmp_path):
    runs = [tmp_path / "one", tmp_path / "two"]
    for run, step in zip(runs, (40, 80), strict=True):
        write_sample(run, 0, step=step)
    with pytest.raises(UserError, match=r"--step 40: .*two has no samples of that step; its samples are of step 80"):
        build_comparison(runs, tmp_path / "x.html", step=40)

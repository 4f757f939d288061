"""The report on scored runs: its page, its CSV and JSON, and what it says about results that do not compare."""

import csv
import dataclasses
import html.parser
import json

import pytest

from irg_jax.benchmarks.benchmark import Problem
from irg_jax.core.errors import UserError
from irg_jax.reporting.benchmarks import build_benchmark_report
from tests.reporting.benchmark_results import BENCHMARKS, make_result, write, write_preference

EVIL = '<script>alert("x")</script> & <b>'


class Page(html.parser.HTMLParser):
    """Tags, links, rows of tables, and the text of a page; fails for tags that are not closed."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.rows, self.text, self._open = [], [], [], "", []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.text += data
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data


def report(tmp_path, *results, **keywords):
    """Writes each result to a folder, and reports on all."""
    folders = [write(tmp_path / f"result{number}", result) for number, result in enumerate(results)]
    return report_on(tmp_path, folders, **keywords)


def report_on(tmp_path, folders, **keywords):
    path = build_benchmark_report(folders, tmp_path / "out", BENCHMARKS, draws=50, **keywords)
    return Page(path.read_text("utf-8"))


def figures_of(tmp_path):
    return json.loads((tmp_path / "out" / "benchmarks.json").read_text("utf-8"))


def test_the_page_has_runs_beside_published_rows(tmp_path):
    page = report(tmp_path, make_result(turn=1, share=0.3), make_result(turn=2, share=0.9))
    head, *rows = page.rows
    assert head[1].startswith("irg, turn 1") and "12 of 12 prompts, 24 images" in head[1]
    assert [text for text in head if text.startswith("IRG")] == ["IRGpublished"]
    overall = next(row for row in rows if row[0] == "overall")
    assert "[" in overall[1] and overall[head.index("IRGpublished")] == "0.85"
    assert "arXiv 2509.06945" in page.text and "detector mask2former_swin-s" in page.text
    assert "of rewritten prompts" in page.text


def test_turn_2_minus_turn_1_has_an_interval_and_a_gallery(tmp_path):
    page = report(tmp_path, make_result(turn=1, share=0.2), make_result(turn=2, share=0.8))
    difference = next(row for row in page.rows if row[0] == "difference")
    assert difference == ["difference", "irg, turn 2minus irg, turn 1"]
    line = next(
        line for line in figures_of(tmp_path)["figures"] if line["kind"] == "turns" and line["figure"] == "overall"
    )
    assert line["low"] < line["value"] < line["high"]
    assert "Largest gains" in page.text and "0.00 → 1.00" in page.text
    assert "none was picked for how it looks" in page.text
    embedded = [link for link in page.links if link.startswith("data:image/png;base64,")]
    assert embedded and len(embedded) % 2 == 0


def test_other_runs_are_compared_with_the_first_in_their_last_turn(tmp_path):
    report(tmp_path, *(make_result(run=run, turn=turn) for run in ("bagel", "irg") for turn in (1, 2)))
    pairs = {
        (line["name"], line["compared_with"]) for line in figures_of(tmp_path)["figures"] if line["kind"] == "runs"
    }
    assert pairs == {("irg, turn 2", "bagel, turn 2")}


def test_csv_and_json_have_the_same_figures(tmp_path):
    report(tmp_path, make_result(turn=1), make_result(turn=2))
    lines = figures_of(tmp_path)["figures"]
    with (tmp_path / "out" / "benchmarks.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(lines) > 8
    for row, line in zip(rows, lines, strict=True):
        assert {name: "" if value is None else str(value) for name, value in line.items()}.items() <= row.items()


def test_the_page_is_self_contained_and_escapes_every_text(tmp_path):
    evil = dict.fromkeys(("run", "checkpoint"), EVIL) | {"version": EVIL}
    evil |= {"protocol": {EVIL: EVIL}, "problems": (Problem(EVIL, EVIL, EVIL),)}
    first, second = (make_result(turn=turn, share=share) for turn, share in ((1, 0.2), (2, 0.9)))
    first, second = (
        dataclasses.replace(one, **evil, prompts=dict.fromkeys(one.prompts, EVIL)) for one in (first, second)
    )
    for one in (first, second):
        figures = one.figures
        figures[EVIL] = figures["colors"]
    folders = [write(tmp_path / "<b>a", first), write(tmp_path / "<b>b", second)]
    folders.append(
        write_preference(
            tmp_path / "judged", a=EVIL, b=EVIL, protocol={EVIL: EVIL}, problems=(Problem(EVIL, EVIL, EVIL),)
        )
    )
    page = report_on(tmp_path, folders)
    assert "script" not in page.tags and "b>" not in "".join(page.tags)
    assert page.text.count('<script>alert("x")</script>') > 10
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)


def test_an_overall_of_too_few_prompts_stands_in_a_row_of_its_own(tmp_path):
    short = make_result(turn=1, complete=False, scored_items=12, expected_items=553)
    page = report(tmp_path, short)
    named = {row[0]: row for row in page.rows}
    assert named["overall of 12 of 553 prompts"][1] != "—" and named["overall"][1] == "—"
    assert "not complete" in page.rows[0][1]
    names = {line["figure"] for line in figures_of(tmp_path)["figures"] if line["kind"] == "result"}
    assert "overall of 12 of 553 prompts" in names and "overall" not in names


def test_a_result_that_does_not_compare_is_marked(tmp_path):
    page = report(tmp_path, make_result(comparable=False))
    assert "not comparable" in page.rows[0][1]
    assert "were not made by the official protocol" in page.text


def test_results_scored_in_different_ways_are_said_so(tmp_path):
    other = make_result(turn=2, protocol={"prompts": "4af0c1", "detector": "another"})
    page = report(tmp_path, make_result(turn=1), other)
    assert "detector: mask2former_swin-s (irg, turn 1); another (irg, turn 2)" in page.text
    assert any("do not compare: detector" in warning for warning in figures_of(tmp_path)["warnings"])


def test_two_versions_of_a_benchmark_are_apart_and_said_so(tmp_path):
    page = report(tmp_path, make_result(), make_result(version="long"))
    assert "GenEval: there are results of the versions short and long" in page.text
    assert page.text.count("GenEval, version short") == 2  # link and heading
    heads = [row for row in page.rows if row[0] == "figure"]
    assert len(heads) == 2 and "version short" in heads[1][2], "published rows are of the other version"


def test_turns_of_different_checkpoints_are_not_one_run(tmp_path):
    page = report(tmp_path, make_result(turn=1), make_result(turn=2, checkpoint="runs/other"))
    assert "have the name of one run but are of different checkpoints" in page.text
    assert not [line for line in figures_of(tmp_path)["figures"] if line["kind"] == "turns"]


def test_other_prompts_are_not_compared_and_the_reason_is_there(tmp_path):
    page = report(tmp_path, make_result(turn=1), make_result(turn=2, items=9))
    assert "not compared: two results are not of the same prompts: only the first have 00009 sample 0" in page.text
    assert figures_of(tmp_path)["refused"][0]["name"] == "irg, turn 2"


def test_images_that_are_gone_or_broken_are_said_so(tmp_path):
    folders = [write(tmp_path / "1", make_result(turn=1, share=0.1), images=False)]
    second = make_result(turn=2, share=0.9)
    folders.append(
        write(tmp_path / "2", dataclasses.replace(second, images=dict(list(second.images.items())[:1])), images=False)
    )
    for name in second.images.values():
        (tmp_path / "2" / name).write_bytes(b"no image")
    page = report_on(tmp_path, folders)
    assert "cannot be read (No such file or directory)" in page.text
    assert "no image in the results" in page.text and not [x for x in page.links if x.startswith("data")]


def test_verdicts_of_judges_become_a_table(tmp_path):
    page = report_on(tmp_path, [write_preference(tmp_path / "judged")])
    rows = [row for row in page.rows if row[1] == "all"]
    assert rows[0][0] == "all judges" and rows[0][2].startswith("75.0 %")
    assert rows[1][:1] + rows[1][3:] == ["fair judge", "6", "0", "0", "0", "50.0 %", "100.0 %"]
    assert rows[2][:1] + rows[2][3:] == ["first judge", "0", "0", "0", "6", "100.0 %", "0.0 %"]
    assert "Judges agree on 0.0 %" in page.text and "people preferred turn 2 in 74.0 %" in page.text
    assert [own["agreement"] for own in figures_of(tmp_path)["judges"]] == [0.0]


def test_the_report_is_the_same_for_the_same_seed(tmp_path):
    results = [make_result(turn=1), make_result(turn=2)]
    report(tmp_path / "a", *results)
    report(tmp_path / "b", *results)
    assert figures_of(tmp_path / "a") == figures_of(tmp_path / "b")


def test_wrong_folders_are_named(tmp_path):
    folder = write(tmp_path / "one", make_result(), images=False)
    with pytest.raises(UserError, match="give at least one folder"):
        report_on(tmp_path, [])
    with pytest.raises(UserError, match="one: is given twice"):
        report_on(tmp_path, [folder, folder])
    with pytest.raises(UserError, match="absent: no such folder"):
        report_on(tmp_path, [tmp_path / "absent"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty/scores\.json: is missing; score the images again"):
        report_on(tmp_path, [tmp_path / "empty"])
    with pytest.raises(UserError, match="is of the benchmark 'other', which is not one of geneval, wise"):
        report(tmp_path / "x", make_result(benchmark="other"))
    with pytest.raises(UserError, match=r"judged: 00000 has no category|judged: item 00000"):
        report_on(tmp_path, [write_preference(tmp_path / "judged", categories={})])

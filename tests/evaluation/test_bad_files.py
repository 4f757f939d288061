"""Prompts of another version, files of scores that lack an image, scores of another run, and folders in use."""

import json
import shutil

import pytest

from irg_jax.benchmarks.results import read_result
from irg_jax.core.locks import locked
from irg_jax.worlds.shapes.oracle.faults import Fault
from tests.evaluation import scoring
from tests.evaluation.scoring import Case

SCORED = {"geneval": 12, "tiif": 8, "genai_bench": 3}  # images


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    """The images of each benchmark, which tests copy."""
    root = tmp_path_factory.mktemp("intact")
    return {name: Case(root / name, name) for name in ("wise", *SCORED)}


@pytest.fixture(scope="module")
def server():
    with scoring.serve() as running:
        yield running


def test_images_of_another_prompt_file_are_named_where_the_layout_says_whose_they_are(capfd, tmp_path, intact, server):
    case = intact["geneval"].copy(tmp_path)
    text = case.path.read_text("utf-8")
    case.path = tmp_path / "other.jsonl"
    case.path.write_text(text.replace("a red circle", "a long text about a red circle"), "utf-8")
    outcome = scoring.run(capfd, *case.flags(server))
    assert outcome.status == 2 and "00000/metadata.jsonl says 'a red circle'" in outcome.error
    assert "use the prompt file of these images" in outcome.error and not case.is_scored


def test_prompts_of_another_version_than_the_run_s_are_refused(capfd, tmp_path, intact, server):
    case = intact["wise"].copy(tmp_path)
    run = case.as_run(turns=1)
    other = tmp_path / "other"
    shutil.copytree(case.path, other)
    file = other / "natural_science.json"
    file.write_text(file.read_text("utf-8").replace("a red circle and a blue square", "a blue square"), "utf-8")
    given = [
        flag for flag in case.flags(server) if not flag.startswith(("--images", "--benchmark", "--prompts", "--model"))
    ]
    outcome = scoring.run(capfd, *given, f"--run={run}", f"--prompts={other}", "--allow_partial")
    assert outcome.status == 2 and f"--prompts: {other} is not the file that {run} was generated from" in outcome.error
    assert not outcome.printed and not case.is_scored
    outcome = scoring.run(capfd, *given, f"--run={run}", "--allow_partial")
    assert outcome.status == 0 and case.is_scored


def test_a_custom_file_of_full_length_is_not_the_benchmark(capfd, tmp_path, intact, server, monkeypatch):
    monkeypatch.setattr("irg_jax.benchmarks.wise.prompts._OFFICIAL_ITEMS", 6)
    case = intact["wise"].copy(tmp_path)
    outcome = scoring.run(capfd, *case.flags(server))
    assert outcome.status == 2 and "6 of 6 prompts of WISE (custom) are scored" in outcome.error
    assert not outcome.printed and not case.is_scored
    outcome = scoring.run(capfd, *case.flags(server, "--allow_partial"))
    assert outcome.status == 0 and [line[:30] for line in outcome.printed if "overall" in line] == [
        "overall of 6 custom prompts   "
    ]
    assert "overall" in read_result(case.out / "turn1").figures


@pytest.mark.parametrize("name", ["geneval", "tiif", "genai_bench"])
def test_a_file_of_scores_that_says_nothing_about_an_image(capfd, tmp_path, intact, server, name):
    case = intact[name].copy(tmp_path)
    flag, told = case.score_file(tmp_path, without_first=True)
    case.always = [flag]
    outcome = scoring.run(capfd, *case.flags(server))
    assert outcome.status == 2 and told in outcome.error and "missing" in outcome.error and not case.is_scored
    outcome = scoring.run(capfd, *case.flags(server, "--allow_partial"))
    assert outcome.status == 0 and any(told in problem["where"] for problem in case.scores()["problems"])


@pytest.mark.parametrize("name", ["geneval", "tiif", "genai_bench"])
def test_a_score_in_a_file_without_its_image_does_not_count(capfd, tmp_path, intact, server, name):
    case = intact[name].copy(tmp_path)
    case.always = [case.score_file(tmp_path)[0]]
    images = sorted(path for path in case.images.rglob("*") if path.suffix in (".png", ".jpeg"))
    images[0].unlink()
    outcome = scoring.run(capfd, *case.flags(server, "--allow_partial"))
    assert outcome.status == 0, outcome
    assert len(case.scores()["rows"]) == SCORED[name] - 1


def test_a_prompt_that_lacks_one_of_several_metrics_is_not_scored(capfd, tmp_path):
    """OneIG-Bench puts values of several metrics into the row of an image."""
    case = Case(tmp_path / "case", "oneig")
    keys = [item.key for item in case.prompts.items]
    reasoning, diversity = tmp_path / "reasoning.json", tmp_path / "diversity.json"
    reasoning.write_text(json.dumps({"reasoning/000": [0.2, None, 0.2, 0.2]}), "utf-8")
    diversity.write_text(json.dumps({key: [0.3] * 6 if key != "human/000" else [] for key in keys}), "utf-8")
    files = [f"--file=reasoning={reasoning}", f"--file=diversity={diversity}", "--allow_partial"]

    def no_answer(_, question):
        return Fault("half") if "Is there an object?" in question.text else None

    with scoring.serve(no_answer) as faulty:
        outcome = scoring.run(capfd, *case.flags(faulty, *files))
    assert outcome.status == 0, outcome
    scores = case.scores()
    assert (scores["scored_items"], scores["complete"]) == (1, False), "the text; all others lack something"
    missing = {problem["where"] for problem in scores["problems"] if problem["kind"] == "missing"}
    assert missing == {"oneig reasoning/000 sample 1", "oneig human/000 sample 0"}


def test_two_commands_do_not_write_to_one_folder(capfd, tmp_path, intact, server):
    case = intact["wise"].copy(tmp_path)
    case.out.mkdir()
    asked = len(server.questions)
    with locked(case.out, "--out"):
        outcome = scoring.run(capfd, *case.flags(server, "--allow_partial"))
    assert outcome.status == 2 and f"--out: another process is writing to {case.out}" in outcome.error
    assert "wait until it ends, or choose another folder" in outcome.error and len(server.questions) == asked


def test_scores_of_another_model_are_not_overwritten(capfd, tmp_path, intact, server):
    case = intact["wise"].copy(tmp_path)
    assert scoring.run(capfd, *case.flags(server, "--allow_partial")).status == 0
    before, asked = case.scores(), len(server.questions)
    outcome = scoring.run(capfd, *case.flags(server, "--allow_partial", "--model=other"))
    assert outcome.status == 2 and "scores.json is of another run (run 'irg', not 'other')" in outcome.error
    assert "choose another folder" in outcome.error and len(server.questions) == asked and case.scores() == before


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("step", 8, "step 8, not 7"),
        ("turn", 2, "turn 2, not 1"),
        ("run", "other", "run 'other', not 'irg'"),
        ("weights", "def", "weights 'def', not 'abc'"),
    ],
)
def test_a_report_refuses_scores_of_another_run(capfd, tmp_path, intact, name, value, told):
    case = intact["geneval"].copy(tmp_path)
    run = case.as_run(turns=1)
    outcome = scoring.run(capfd, "score", f"--run={run}", "--allow_partial", *case.always)
    assert outcome.status == 0, outcome
    path = run / "scores" / "turn1" / "scores.json"
    scores = json.loads(path.read_text("utf-8"))
    (scores["protocol"] if name == "weights" else scores)[name] = value
    path.write_text(json.dumps(scores), "utf-8")
    outcome = scoring.run(capfd, "report", run, f"--out={tmp_path / 'page'}")
    assert outcome.status == 2 and f"{path}: is not of the run in {run} ({told})" in outcome.error, outcome
    assert not (tmp_path / "page").exists()


def test_the_report_on_the_run_s_own_scores(capfd, tmp_path, intact):
    case = intact["geneval"].copy(tmp_path)
    run = case.as_run(turns=1)
    scoring.run(capfd, "score", f"--run={run}", "--allow_partial", *case.always)
    outcome = scoring.run(capfd, "report", run, f"--out={tmp_path / 'page'}")
    assert outcome.status == 0 and outcome.printed == [str(tmp_path / "page" / "benchmarks.html")]
    assert "of 3 of 553 prompts" in (tmp_path / "page" / "benchmarks.html").read_text("utf-8")


def test_a_file_that_is_given_twice_is_refused(capfd, intact, server):
    case = intact["geneval"]
    outcome = scoring.run(capfd, *case.flags(server, "--allow_partial", *case.always))
    assert outcome.status == 2 and "detections is given twice; keep one of them" in outcome.error

"""Judges that fail, answers that cannot be used, and keys that are never written."""

import json

import pytest

from irg_jax.endpoints import rates
from irg_jax.worlds.shapes.oracle.answers import Oracle
from irg_jax.worlds.shapes.oracle.faults import Fault, error, respond, silence
from tests.evaluation import scoring
from tests.evaluation.scoring import KEY, Case

JUDGED = ("wise", "tiif", "genai_bench", "oneig")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setattr(rates, "back_off", lambda failures: 0.02)
    monkeypatch.setenv("JUDGE_KEY", KEY)


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    root = tmp_path_factory.mktemp("intact")
    return {name: Case(root / name, name) for name in JUDGED}


@pytest.fixture
def score(capfd, tmp_path, intact):
    """Runs the command on a benchmark whose judge has a fault: what came of it, the case and the server."""

    def run(name, *flags, fault=lambda *_: None, say=None, key="", case=None, **config):
        case = case or intact[name].copy(tmp_path)
        with scoring.serve(fault, say, key) as server:
            outcome = scoring.run(capfd, *case.flags(server, *flags, **config))
        assert KEY.encode() not in scoring.everything_in(case.out)
        assert not any(KEY in line for line in outcome.lines + outcome.printed)
        return outcome, case, server

    return run


def about(text, fault):
    """The fault for every question that has this text in it."""
    return lambda number, question: fault if text in question.text else None


def first(fault):
    """The fault for the first request only."""
    return lambda number, question: fault if number == 0 else None


# What nothing can be read from, for each benchmark; OneIG-Bench and GenAI-Bench have a rule for any text, see below.
UNREADABLE = [
    ("wise", Fault("nonsense"), "has no score"),
    ("wise", Fault("refusal"), "has no score"),
    ("wise", Fault("half"), "has no score"),
    ("tiif", Fault("nonsense"), "has 0 lines that begin with yes or no, for 2 questions"),
    ("tiif", Fault("refusal"), "has 0 lines that begin with yes or no, for 2 questions"),
    ("tiif", Fault("half"), "has 1 lines that begin with yes or no, for 2 questions"),
    ("genai_bench", Fault("half"), "no log-probabilities"),
    ("oneig", Fault("half"), "answer is empty"),
]
ASKED = {"wise": '"a red circle"\n', "tiif": "Is there a red circle?", "genai_bench": '"a red circle"?',
         "oneig": "Is there an object?"}  # fmt: skip
WHERE = {"wise": "wise 1", "tiif": "tiif color+2d/", "genai_bench": "genai_bench 00000", "oneig": "oneig anime/000"}


@pytest.mark.parametrize(("name", "fault", "reason"), UNREADABLE)
def test_an_answer_that_cannot_be_read_is_named_and_no_score(score, name, fault, reason):
    outcome, case, server = score(name, fault=about(ASKED[name], fault))
    assert outcome.status == 2 and reason in outcome.error and f"unanswered: {WHERE[name]}" in outcome.error, outcome
    assert "asked 2 times; raise config.attempts to ask again" in outcome.error
    assert not outcome.printed and not case.is_scored

    outcome, case, again = score(name, "--allow_partial", fault=about(ASKED[name], fault), case=case)
    assert not again.questions, "what was answered is not paid for twice"
    assert outcome.status == 0, outcome
    scores = case.scores()
    if name == "oneig":  # the question was about every image
        assert "alignment" not in scores["figures"]
    unanswered = [problem for problem in scores["problems"] if problem["kind"] == "unanswered"]
    assert unanswered and not any(
        row["key"] in problem["where"].split() for row in scores["rows"] for problem in unanswered
    )
    assert all(" of " in figure for figure in scores["figures"] if "overall" in figure)


def test_an_answer_that_comes_at_the_second_attempt_counts(score):
    outcome, case, server = score("wise", "--allow_partial", fault=first(Fault("nonsense")))
    assert outcome.status == 0 and len(server.questions) == 7 and len(case.scores()["rows"]) == 6
    assert not case.scores()["problems"]


@pytest.mark.parametrize(
    ("name", "asked", "counts"),
    [
        ("genai_bench", '"a red circle"?', "neither yes nor no is among the first tokens"),
        ("oneig", "Is there an object?", "counts as no, as officially"),
    ],
)
@pytest.mark.parametrize("kind", ["nonsense", "refusal"])
def test_what_the_official_rule_counts_as_0_is_told(score, name, asked, counts, kind):
    outcome, case, _ = score(name, "--allow_partial", fault=about(asked, Fault(kind)))
    assert outcome.status == 0, outcome
    unclear = [problem for problem in case.scores()["problems"] if problem["kind"] == "unclear"]
    assert unclear and all(counts in problem["reason"] for problem in unclear)
    assert sum("unclear" in line and counts in line for line in outcome.lines) == len(unclear)


def test_text_that_is_cut_off_is_told(score):
    outcome, case, _ = score("oneig", "--allow_partial", fault=about("Recognize the text", Fault("half")))
    unclear = [problem for problem in case.scores()["problems"] if "the answer is cut off" in problem["reason"]]
    assert [problem["where"] for problem in unclear] == [f"oneig text/000 sample {sample}" for sample in range(4)]


def test_an_answer_that_the_endpoint_filters_is_no_answer(score):
    body = {"choices": [{"message": {"content": "Score: 0"}, "finish_reason": "content_filter"}]}
    filtered = respond(200, json.dumps(body).encode())
    outcome, case, _ = score("wise", fault=about(ASKED["wise"], filtered))
    assert outcome.status == 2 and "the endpoint filters its answer; asked 2 times" in outcome.error
    assert not outcome.printed and not case.is_scored


def test_a_request_that_is_refused_is_named_with_the_endpoint_s_words(score):
    refused = about(ASKED["wise"], error(400, "unsafe picture", "content_policy_violation"))
    outcome, case, _ = score("wise", fault=refused)
    assert outcome.status == 2 and not outcome.printed and not case.is_scored
    assert "unanswered: wise 1: score: the endpoint refuses it (HTTP 400: " in outcome.error
    assert "unsafe picture" in outcome.error and "start again to ask again" in outcome.error
    outcome, case, server = score("wise", "--allow_partial", case=case)
    assert outcome.status == 0 and len(server.questions) == 1, "only the refused one is asked again"


def test_an_endpoint_that_refuses_everything_ends_the_command(score):
    outcome, case, server = score("wise", "--allow_partial", fault=lambda *_: error(400, "unknown field"))
    assert (
        outcome.status == 2 and "refuses every request" in outcome.error and "check model and options" in outcome.error
    )
    assert len(server.questions) <= 6 and not case.is_scored and not outcome.printed


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(silence(5.0), "timed out"), (error(500), "HTTP 500"), (Fault("cut"), "the connection failed")],
)
def test_an_endpoint_that_stays_away_is_status_75_and_one_that_comes_back_is_asked_again(score, fault, reason):
    patience = dict(requests__timeout_s=0.2, requests__give_up_after_s=0.3)
    outcome, case, _ = score("wise", "--allow_partial", fault=about(ASKED["wise"], fault), **patience)
    assert outcome.status == 75 and reason in outcome.error and "start again later" in outcome.error, outcome
    assert not case.is_scored and not outcome.printed
    outcome, case, _ = score("wise", "--allow_partial", case=case)
    assert outcome.status == 0 and len(case.scores()["rows"]) == 6


def test_a_judge_that_changes_its_model_is_recorded_and_flagged(score):
    outcome, case, _ = score("wise", "--allow_partial", fault=about(ASKED["wise"], Fault("model")))
    assert outcome.status == 0, outcome
    scores = case.scores()
    assert scores["protocol"]["judge"] == "oracle"
    assert scores["protocol"]["judge answers as"] == "oracle, oracle-other"
    (problem,) = scores["problems"]
    assert problem["kind"] == "judge changed" and not scores["comparable"]
    assert "oracle was answered by oracle (5 answers), oracle-other (1 answers)" in problem["reason"]
    assert any("judge changed" in line for line in outcome.lines)


def test_a_judge_that_is_always_another_model_is_flagged_too(score):
    outcome, case, _ = score("wise", "--allow_partial", fault=lambda *_: Fault("model"))
    (problem,) = case.scores()["problems"]
    assert "oracle was answered by oracle-other (6 answers)" in problem["reason"]


def test_a_dated_snapshot_is_the_model_that_was_asked_for(score):
    def under_a_date(question):
        body = {"choices": [{"message": {"content": Oracle()(question).text}}], "model": "oracle-2024-11-20"}
        return respond(200, json.dumps(body).encode())

    outcome, case, _ = score("wise", "--allow_partial", fault=lambda _, question: under_a_date(question))
    assert not case.scores()["problems"] and case.scores()["protocol"]["judge answers as"] == "oracle-2024-11-20"


@pytest.mark.parametrize("key", [KEY, "sk-another"])
def test_the_key_is_in_no_file_and_in_no_line(score, key):
    """Also where the endpoint repeats it, as some do in their answers and errors."""

    def repeats(question):
        return f"You sent {KEY}. {Oracle()(question).text}"

    faults = {3: error(400, f"the key {KEY} may not see this"), 4: error(500, f"{KEY}")}
    outcome, case, server = score(
        "wise",
        "--allow_partial",
        key=key,
        say=repeats,
        fault=lambda n, _: faults.get(n),
        judges__qwen__key_env="JUDGE_KEY",
    )
    if key == KEY:
        assert outcome.status == 0 and len(case.scores()["rows"]) == 5, outcome
    else:
        assert outcome.status == 2 and "qwen.key_env (JUDGE_KEY); give one that may use the model" in outcome.error


def test_a_key_in_place_of_the_name_of_its_variable_is_refused_without_being_shown(score):
    outcome, _, server = score("wise", judges__qwen__key_env=KEY)
    assert outcome.status == 2 and "key_env: is not the NAME of an environment variable" in outcome.error
    assert not server.questions

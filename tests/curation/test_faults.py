"""Endpoints that fail, answers that cannot be used, and keys that are never shown."""

import base64
import json
import socket

import pytest

from irg_jax.endpoints import rates
from irg_jax.worlds.shapes.oracle.answers import Oracle
from irg_jax.worlds.shapes.oracle.faults import Fault, error, respond, silence
from tests import tiny
from tests.curation import curating
from tests.curation.curating import KEY

CHAT = {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", KEY)


@pytest.fixture(autouse=True)
def quick_back_off(monkeypatch):
    monkeypatch.setattr(rates, "back_off", lambda failures: 0.05)


@pytest.fixture(scope="module")
def records():
    return curating.trajectories(4)


@pytest.fixture
def curate(capfd, tmp_path, records):
    """Runs the command for some records with a server's answers and faults: status, lines, server, records, rejects."""

    def run(fault=lambda *_: None, answer=None, given=("image1",), count=4, **changes):
        prompts = curating.write_records(tmp_path / "prompts.jsonl", records[:count], *given)
        out = tmp_path / "out"
        with curating.serve(answer or Oracle(records), fault) as server:
            status, lines = curating.outcome(capfd, *curating.flags(server, prompts, out, **changes))
        there = [
            curating.read_lines(path) if path.exists() else None
            for path in (out / "records.jsonl", out / "rejected.jsonl")
        ]
        stored = curating.everything_in(out)
        assert KEY.encode() not in stored and base64.b64encode(KEY.encode()) not in stored
        assert not any(KEY in line or "Traceback" in line for line in lines), lines
        return status, lines, server, *there

    return run


def first(fault):
    """The fault for the first request only."""
    return lambda number, question: fault if number == 0 else None


@pytest.mark.parametrize(
    ("fault", "reason", "may_cost"),
    [
        (error(500), "HTTP 500", False),
        (error(503, "overloaded"), "HTTP 503", False),
        (error(429), "HTTP 429", False),
        (respond(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"}), "HTTP 502", False),
        (silence(2.0), "timed out", True),
        (Fault("cut"), "the connection failed", True),
        (respond(200, b'{"choices": [{"mess'), "not the protocol's JSON", True),
        (respond(200, b'{"choices": []}'), "not the protocol's JSON", True),
        (respond(200, b"[]"), "not the protocol's JSON", True),
        (respond(200, b"<html>maintenance</html>", {"Content-Type": "text/html"}), "not the protocol's JSON", True),
        (respond(200, b"\xff\xfe"), "not the protocol's JSON", True),
    ],
)
def test_what_may_pass_is_asked_again(curate, tmp_path, fault, reason, may_cost):
    status, lines, server, made, rejected = curate(first(fault), requests__timeout_s=1.5)
    assert status == 0 and len(made) == 4 and not rejected
    assert len(server.questions) == 13
    assert any(reason in line and "next try in" in line for line in lines), lines
    failed = [line for line in curating.read_lines(tmp_path / "out/journal.jsonl") if "failed" in line]
    assert len(failed) == 1 and (failed[0]["cost"] > 0) == may_cost


def test_a_picture_that_fails_on_the_way_is_asked_again(curate):
    faults = iter([Fault("cut"), respond(200, b'{"data": []}'), error(500)])
    status, _, server, made, _ = curate(
        lambda number, question: next(faults, None) if question.kind == "generate" else None
    )
    assert status == 0 and len(made) == 4
    assert sum(question.kind == "generate" for question in server.questions) == 7


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry_After": "1"},
        {"retry_after_ms": "1000"},
        {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "1s"},
        {"x_ratelimit_remaining_requests": "5", "x_ratelimit_reset_requests": "1s"},
    ],
)
def test_an_endpoint_that_asks_to_wait_gets_no_request_until_then(curate, headers):
    status, _, server, made, _ = curate(first(error(429, **headers)), steps=("thinking1",))
    assert status == 0 and len(made) == 4
    # Another request may have been under way when the first was refused; the third one waits.
    assert server.times[2] - server.times[0] >= 0.9


def test_a_used_up_limit_on_a_good_answer_is_waited_for_too(curate, records, capfd, tmp_path):
    prompts = curating.write_records(tmp_path / "prompts.jsonl", records)
    with curating.serve(Oracle(records)) as server:
        server.headers = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "600ms"}
        flags = curating.flags(server, prompts, tmp_path / "out", steps=("thinking1",), thinking1__concurrency=1)
        assert curating.outcome(capfd, *flags)[0] == 0
    gaps = [later - sooner for sooner, later in zip(server.times, server.times[1:], strict=False)]
    assert min(gaps) >= 0.55


def test_a_wait_that_is_longer_than_the_patience_ends_it_with_status_75(curate):
    status, lines, server, made, _ = curate(lambda *_: error(429, Retry_After="3600"))
    assert status == 75 and made == [] and len(server.questions) <= 2
    assert lines[-1].startswith("error: config.thinking1: http://127.0.0.1:") and "start again later" in lines[-1]


def test_an_endpoint_that_is_not_there_ends_it_with_status_75(capfd, tmp_path, records):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        server = type("Gone", (), {"url": f"http://127.0.0.1:{taken.getsockname()[1]}/v1"})
        prompts = curating.write_records(tmp_path / "prompts.jsonl", records, "image1")
        flags = curating.flags(server, prompts, tmp_path / "out", requests__give_up_after_s=0.5)
        status, lines = curating.outcome(capfd, *flags)
    assert status == 75 and "gives no answer (the connection failed (ConnectError))" in lines[-1]
    assert "0.0000 of 100.0000 spent" in lines[-2], "what was never sent costs nothing"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            error(401, f"Incorrect API key provided: {KEY}"),
            "answers HTTP 401 to the key of thinking1.key_env (TEACHER_KEY)",
        ),
        (error(403, KEY), "answers HTTP 403"),
        (error(404, "The model does not exist"), "check base_url and model"),
        (error(429, "You exceeded your quota", "insufficient_quota"), "the account has no money left"),
        (error(400, f"no field top_q, {KEY}"), "refuses every request (HTTP 400: no field top_q, [key])"),
    ],
)
def test_what_no_request_can_pass_ends_it_with_status_2(curate, fault, message):
    status, lines, server, made, _ = curate(lambda *_: fault)
    assert status == 2 and message in lines[-1] and lines[-1].startswith("error: "), lines
    assert made == [] and len(server.questions) <= 4


def test_one_refused_request_is_one_rejected_record(curate, records):
    def fault(number, question):
        bad = records[2].prompt in question.text and question.kind == "generate"
        return error(400, f"your request {KEY} was rejected", "moderation_blocked") if bad else None

    for _ in range(4):  # each run asks it again, which is no reason to think that all are refused
        status, _, _, made, rejected = curate(fault)
        assert status == 0 and len(made) == 3
    assert rejected[0]["key"] == records[2].key and rejected[0]["step"] == "image2"
    assert rejected[0]["reason"] == "HTTP 400: moderation_blocked: your request [key] was rejected"


def test_a_bad_answer_is_asked_again_with_the_reason_then_rejected(curate, records):
    world = Oracle(records)

    def answer(question):
        if question.kind != "chat":
            return world(question)
        again = "Your text cannot be used: it must begin with <think>" in question.text
        bad = records[1].prompt in question.text or (records[0].prompt in question.text and not again)
        return f"Sure! {world(question).text}" if bad else world(question)

    status, _, server, made, rejected = curate(answer=answer)
    assert status == 0 and [line["key"] for line in made] == [records[i].key for i in (0, 2, 3)]
    assert made[0]["thinking1"] == records[0].thinking1
    (line,) = rejected
    assert (line["step"], line["rule"], line["attempts"]) == ("thinking1", "think tags", 2)
    assert line["answer"] == f"Sure! {records[1].thinking1}" and "must begin with <think>" in line["reason"]
    told = [question for question in server.questions if "cannot be used" in question.text]
    assert [message["role"] for message in told[0].body["messages"]] == ["user", "assistant", "user"]


def test_half_an_answer_is_asked_again_and_more_tokens_ask_it_once_more(curate, tmp_path, records):
    half = lambda _, question: Fault("half") if question.kind == "chat" and not question.pictures else None  # noqa: E731
    status, _, server, made, rejected = curate(half, count=1)
    assert status == 0 and made == [] and rejected[0]["rule"] == "cut off" and len(server.questions) == 2
    assert "it was cut off after 1024 tokens" in server.questions[1].text
    _, _, server, _, _ = curate(count=1)
    assert not server.questions, "a cut answer is not paid for again at the same limit"
    _, _, server, made, _ = curate(count=1, thinking1__max_tokens=2048)
    assert len(made) == 1 and len(server.questions) == 3


def test_pictures_that_are_none_are_asked_again_then_rejected(curate, records):
    world, calls = Oracle(records), []

    def answer(question):
        if question.kind != "generate":
            return world(question)
        calls.append(question)
        if records[0].prompt in question.text:
            return (
                b"this is no picture"
                if len([c for c in calls if records[0].prompt in c.text]) == 1
                else world(question)
            )
        return b"this is no picture either" if records[1].prompt in question.text else tiny.png(0, 16, 16)

    status, lines, server, made, rejected = curate(answer=answer)
    assert status == 0 and [line["key"] for line in made] == [records[0].key]
    assert [line["rule"] for line in rejected] == ["no picture", "too small", "too small"]
    assert rejected[0]["reason"] == "an image cannot be decoded (cannot identify image file)"
    assert "16 x 16 pixels" in rejected[1]["reason"]
    assert [line["attempts"] for line in rejected] == [2, 2, 2]


def test_an_address_instead_of_a_picture_says_what_to_set(curate):
    body = json.dumps({"data": [{"url": "http://127.0.0.1/x.png"}]}).encode()
    status, lines, server, _, _ = curate(lambda n, q: respond(200, body) if q.kind == "generate" else None)
    assert status == 2 and '"response_format": "b64_json" to config.image2.options' in lines[-1]


def test_a_given_picture_or_text_that_cannot_be_used_is_rejected_unpaid(curate, records, tmp_path, capfd):
    prompts = curating.write_records(tmp_path / "prompts.jsonl", records, "image1", "thinking1")
    (tmp_path / "1_image1.png").write_bytes(records[1].image1[:60])
    prompts.write_text(prompts.read_text("utf-8").replace(json.dumps(records[2].thinking1), '"no tags"'), "utf-8")
    with curating.serve(Oracle(records)) as server:
        status, _ = curating.outcome(capfd, *curating.flags(server, prompts, tmp_path / "out"))
    assert status == 0 and len(server.questions) == 4
    rejected = curating.read_lines(tmp_path / "out/rejected.jsonl")
    assert [(line["step"], line["rule"], line["attempts"]) for line in rejected] == [
        ("image1", "no picture", 0),
        ("thinking1", "think tags", 0),
    ]


def test_a_key_in_an_answer_is_taken_out(curate, records):
    world = Oracle(records)

    def answer(question):
        return world(question).text.replace("I plan", f"I, {KEY}, plan")

    status, _, _, made, _ = curate(answer=answer, steps=("thinking1",))
    assert status == 0 and "I, [key], plan" in made[0]["thinking1"]


def test_without_a_count_of_tokens_the_highest_cost_is_taken(curate, capfd, tmp_path, records):
    prompts = curating.write_records(tmp_path / "prompts.jsonl", records)
    with curating.serve(Oracle(records)) as server:
        server.usage = lambda *_: None
        flags = curating.flags(server, prompts, tmp_path / "out", steps=("thinking1",))
        assert curating.outcome(capfd, *flags)[0] == 0
    journal = curating.read_lines(tmp_path / "out/journal.jsonl")
    at_most = {line["asked"]: line["at_most"] for line in journal if "asked" in line}
    assert {line["answered"]: line["cost"] for line in journal if "answered" in line} == at_most


def test_an_answer_dearer_than_what_was_set_aside_is_said(curate, capfd, tmp_path, records):
    prompts = curating.write_records(tmp_path / "prompts.jsonl", records)
    with curating.serve(Oracle(records)) as server:
        server.usage = lambda *_: (1_000_000, 0)
        flags = curating.flags(server, prompts, tmp_path / "out", steps=("thinking1",))
        _, lines = curating.outcome(capfd, *flags)
    assert sum("raise config.thinking1.image_tokens" in line for line in lines) == 1

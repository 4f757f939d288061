"""Planted faults: which requests get them, and what a client sees."""

import openai
import pytest

from irg_jax.core.errors import UserError
from irg_jax.worlds.shapes.oracle.faults import NONSENSE, REFUSAL, PlannedFaults, parse_faults
from irg_jax.worlds.shapes.oracle.server import Server
from tests.worlds.shapes.oracle.asking import chat

ANSWER = "one two three four"


def ask(client, **changes):
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}], **changes)


def client_of(server, timeout=5.0):
    return openai.OpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=timeout)


def at_first(kind, **options):
    return PlannedFaults(numbers={kind: frozenset([0])}, **options)


def test_the_choice_depends_on_seed_and_number_alone():
    faults = parse_faults(["429=0.1", "cut=0.2", "half@3,5"], 7, 1.0)
    question = chat("x")
    drawn = [faults(number, question) for number in range(2000)]
    backwards = [faults(number, question) for number in reversed(range(2000))]
    assert drawn == backwards[::-1]
    kinds = [fault and ("429" if fault.status == 429 else fault.kind) for fault in drawn]
    assert kinds[3] == kinds[5] == "half" and kinds.count("half") == 2
    assert 150 < kinds.count("429") < 250 and 340 < kinds.count("cut") < 460
    assert drawn != [parse_faults(["429=0.1", "cut=0.2", "half@3,5"], 8, 1.0)(n, question) for n in range(2000)]


def test_every_request_or_none():
    question = chat("x")
    assert all(parse_faults(["500=1"], 0, 1.0)(number, question).status == 500 for number in range(100))
    assert not any(parse_faults([], 0, 1.0)(number, question) for number in range(100))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["hlaf=0.1"], "'hlaf' is not one of 429, 500, .*did you mean half"),
        (["429=2"], "give a share from 0 to 1, as in 429=0.05"),
        (["429=often"], "give a share"),
        (["429"], "give a share"),
        (["429=nan"], "give a share"),
        (["cut@0,-1"], "request numbers from 0, as in"),
        (["cut=0.6", "half=0.6"], "together more than 1"),
    ],
)
def test_a_mistake_is_named(texts, message):
    with pytest.raises(UserError, match=message):
        parse_faults(texts, 0, 1.0)


def test_errors_of_http():
    with Server(lambda _: ANSWER, at_first("429")) as server, pytest.raises(openai.RateLimitError) as error:
        ask(client_of(server))
    headers = error.value.response.headers
    assert headers["Retry-After"] == "1" and headers["x-ratelimit-remaining-requests"] == "0"
    with Server(lambda _: ANSWER, at_first("500")) as server:
        with pytest.raises(openai.InternalServerError):
            ask(client_of(server))
        assert ask(client_of(server)).choices[0].message.content == ANSWER, "the second request has none"
        assert len(server.questions) == 2 and sum(server.answered.values()) == 1


@pytest.mark.parametrize(("kind", "error"), [("cut", openai.APIConnectionError), ("silence", openai.APITimeoutError)])
def test_connections_that_fail(kind, error):
    with Server(lambda _: ANSWER, at_first(kind, silence_s=60.0)) as server, pytest.raises(error):
        ask(client_of(server, timeout=0.3))


def test_json_that_is_none():
    with Server(lambda _: ANSWER, at_first("json")) as server, pytest.raises(ValueError):
        ask(client_of(server))


@pytest.mark.parametrize(
    ("kind", "text", "finish", "model"),
    [
        ("half", "one two", "length", "m"),
        ("nonsense", NONSENSE, "stop", "m"),
        ("refusal", REFUSAL, "stop", "m"),
        ("model", ANSWER, "stop", "m-other"),
        ("picture", ANSWER, "stop", "m"),
    ],
)
def test_wrong_answers(kind, text, finish, model):
    with Server(lambda _: ANSWER, at_first(kind)) as server:
        made = ask(client_of(server))
    assert (made.choices[0].message.content, made.choices[0].finish_reason, made.model) == (text, finish, model)


def test_pictures_that_are_none_or_refused():
    with Server(lambda _: b"PNG", at_first("picture")) as server:
        assert client_of(server).images.generate(prompt="x").data[0].b64_json == "dGhpcyBpcyBubyBwaWN0dXJl"
    with Server(lambda _: b"PNG", at_first("refusal")) as server, pytest.raises(openai.BadRequestError) as error:
        client_of(server).images.generate(prompt="x")
    assert error.value.code == "moderation_blocked"

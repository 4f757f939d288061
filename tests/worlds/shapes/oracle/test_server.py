"""The oracle over HTTP, asked by the client library that curation and evaluation use."""

import base64
import concurrent.futures
import http.client
import json
import math

import numpy as np
import openai
import pytest

from irg_jax.core.errors import UserError
from irg_jax.data.images import decode
from irg_jax.worlds.shapes.kept import kept
from irg_jax.worlds.shapes.oracle.answers import Oracle
from irg_jax.worlds.shapes.oracle.server import MODEL, Server
from irg_jax.worlds.shapes.reader import read_picture
from irg_jax.worlds.shapes.scene import Scene
from irg_jax.worlds.shapes.score import compare_with_plan
from irg_jax.worlds.shapes.world import make_trajectory
from tests.worlds.shapes.oracle.asking import RED_CIRCLE_AND_BLUE_SQUARE, encode

PICTURE = encode(RED_CIRCLE_AND_BLUE_SQUARE)
QUESTION = "Is there a red circle? Please answer 'Yes' or 'No' only."


@pytest.fixture(scope="module")
def record():
    return make_trajectory(0, "train", 0)


@pytest.fixture
def server(record):
    with Server(Oracle([record])) as server:
        yield server


@pytest.fixture
def client(server):
    return openai.OpenAI(base_url=server.url, api_key="none", max_retries=0, timeout=10)


def messages(text, *pictures):
    parts = [{"type": "text", "text": text}]
    for picture in pictures:
        url = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return [{"role": "user", "content": parts}]


def test_a_question_about_a_picture(client, server):
    made = client.chat.completions.create(model="judge", messages=messages(QUESTION, PICTURE), temperature=0)
    (choice,) = made.choices
    assert (choice.message.content, choice.finish_reason, made.model) == ("Yes", "stop", "judge")
    assert made.usage.prompt_tokens > 85 and made.usage.completion_tokens == 1
    (question,) = server.questions
    assert question.pictures == (PICTURE,) and server.answered == {question.content: 1}


def test_log_probabilities_of_the_first_token(client):
    text = 'Does this figure show "a red circle and a green square"? Please answer yes or no.'
    made = client.chat.completions.create(
        model="judge", messages=messages(text, PICTURE), logprobs=True, top_logprobs=20, max_tokens=1
    )
    (token,) = made.choices[0].logprobs.content
    likely = {entry.token: math.exp(entry.logprob) for entry in token.top_logprobs}
    assert token.token == "No" and likely == pytest.approx({"No": 0.95, "Yes": 0.05})
    plain = client.chat.completions.create(model="judge", messages=messages(text, PICTURE))
    assert plain.choices[0].logprobs is None


def test_a_token_limit_cuts_an_answer(client):
    text = "Is there a circle?\nIs there a cross?\nIs there a square?"
    made = client.chat.completions.create(model="judge", messages=messages(text, PICTURE), max_completion_tokens=2)
    assert (made.choices[0].message.content, made.choices[0].finish_reason) == ("Yes\nNo", "length")


def test_pictures_are_generated_and_edited(client, server, record):
    made = client.images.generate(model="painter", prompt=record.prompt)
    assert base64.b64decode(made.data[0].b64_json) == record.image2
    prompt = f"This picture was painted for the following request:\n\n{record.prompt}\n\nImprove it."
    made = client.images.edit(model="painter", image=("a.png", record.image1, "image/png"), prompt=prompt)
    first, second = (
        read_picture(np.asarray(decode(content, "picture")))
        for content in (record.image1, base64.b64decode(made.data[0].b64_json))
    )
    plan = Scene.from_json(record.scene).plan
    assert compare_with_plan(second, plan) == () and kept(first, second, plan.things) > 0.95
    assert [question.kind for question in server.questions] == ["generate", "edit"]
    assert server.questions[1].pictures == (record.image1,)
    with pytest.raises(openai.BadRequestError, match="no record for the prompt 'a cat'"):
        client.images.generate(model="painter", prompt="a cat")


def test_what_is_not_understood_is_http_400_with_what_is(client):
    with pytest.raises(openai.BadRequestError, match="'Is there a cat\\?'.*Is there a red circle in the image"):
        client.chat.completions.create(model="judge", messages=messages("Is there a cat?", PICTURE))
    with pytest.raises(openai.BadRequestError, match="data URI"):
        parts = [{"type": "image_url", "image_url": {"url": "http://example.org/a.png"}}]
        client.chat.completions.create(model="judge", messages=[{"role": "user", "content": parts}])
    with pytest.raises(openai.BadRequestError, match="stream"):
        client.chat.completions.create(model="judge", messages=messages(QUESTION, PICTURE), stream=True)
    with pytest.raises(openai.NotFoundError, match="the oracle has POST /v1/chat/completions"):
        client.embeddings.create(model="judge", input="x")


def test_models_and_counts(client, server):
    assert [model.id for model in client.models.list()] == [MODEL]
    client.chat.completions.create(model="judge", messages=messages(QUESTION, PICTURE))
    assert client.get("/irg/requests", cast_to=object) == server.counts()
    assert server.counts() == {"requests": 1, "kinds": {"chat": 1}, "answered": 1}


def test_many_at_once_over_connections_that_stay_open(client, server):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        ask = lambda _: client.chat.completions.create(model="judge", messages=messages(QUESTION, PICTURE))  # noqa: E731
        assert {made.choices[0].message.content for made in pool.map(ask, range(64))} == {"Yes"}
    assert list(server.answered.values()) == [64]
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.split(":")[2].split("/")[0]), timeout=10)
    for body, status in ((b"{", 400), (b"[]", 400), (json.dumps({"messages": [{}]}).encode(), 400), (b"", 400)):
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == status and "not of the protocol" in json.load(response)["error"]["message"]
    connection.close()


def test_a_key(record):
    with Server(Oracle(), key="sk-right") as server:
        for key, status in (("sk-wrong", 401), ("sk-right", None)):
            client = openai.OpenAI(base_url=server.url, api_key=key, max_retries=0)
            if status:
                with pytest.raises(openai.AuthenticationError):
                    client.chat.completions.create(model="judge", messages=messages(QUESTION, PICTURE))
            else:
                client.chat.completions.create(model="judge", messages=messages(QUESTION, PICTURE))
        assert len(server.questions) == 1


def test_a_port_that_is_taken(server):
    port = int(server.url.split(":")[2].split("/")[0])
    with pytest.raises(UserError, match=f"127.0.0.1:{port}: cannot listen there"), Server(Oracle(), port=port):
        pass

"""GenAI-Bench's question to a chat model, and the score from the log-probabilities of the first token."""

import math

import pytest

from irg_jax.benchmarks.benchmark import UnreadableAnswer
from irg_jax.benchmarks.genai_bench import judge
from tests.benchmarks.genai_bench.prompts import read


def test_the_question(tmp_path):
    items = read(tmp_path).items
    asked = judge.question(items[0])
    assert asked.text == 'Does this figure show "thing 00000"? Please answer yes or no.'
    assert (asked.key, asked.system, asked.max_tokens, asked.logprobs) == ("00000", "", 1, True)
    assert judge.question(items[0], judge.WORDING_V3_1).text.endswith('00000"? Please answer Yes or No.')
    assert judge.question(items[4]) is None, "a prompt without a skill is never scored"


@pytest.mark.parametrize(
    ("probabilities", "score"),
    [
        ({"Yes": 0.75, "No": 0.25}, 0.75),
        ({"No": 0.75, "yes": 0.125}, 0.125),  # not 1 - P("no")
        ({"YES": 0.5, "yes": 0.25}, 0.5),
        ({"Maybe": 0.5, "NO": 0.25}, 0.75),
        ({"Maybe": 0.5, " yes": 0.25, "yes.": 0.25}, 0.0),
    ],
)
def test_the_score(probabilities, score):
    tokens = [(token, math.log(value)) for token, value in probabilities.items()]
    assert judge.values(tokens) == {"score": pytest.approx(score, abs=1e-12)}


@pytest.mark.parametrize("tokens", [[], [("yes", math.nan)], [("no", 0.5)]])
def test_what_is_no_answer(tokens):
    with pytest.raises(UnreadableAnswer, match="log-probabilit"):
        judge.values(tokens)

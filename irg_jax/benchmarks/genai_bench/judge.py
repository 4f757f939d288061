"""GenAI-Bench's variant for chat models: how probable the answer "yes" is (linzhiqiu/t2v_metrics@6ecb74f).

It is another scale than CLIP-FlanT5-XXL's: the official table has 0.78 against 0.68 for the same images.
"""

import math
from collections.abc import Sequence

from irg_jax.benchmarks.benchmark import Item, UnreadableAnswer
from irg_jax.benchmarks.genai_bench.prompts import is_scored
from irg_jax.benchmarks.judge import Question

OFFICIAL_JUDGE = "gpt-4o"
TOP_LOGPROBS = 20
WORDING = 'Does this figure show "{}"? Please answer yes or no.'
WORDING_V3_1 = 'Does this figure show "{}"? Please answer Yes or No.'  # of t2v_metrics 3.1 and later


def question(item: Item, wording: str = WORDING) -> Question | None:
    """What to ask about the image of an item; None for one that is never scored.

    Args:
      item: one of the prompts.
      wording: ``WORDING`` or ``WORDING_V3_1``, with ``{}`` where the prompt belongs.
    """
    if not is_scored(item):
        return None
    before, after = wording.split("{}")
    return Question(item.key, 0, "yes", "", before + item.prompt + after, 1, logprobs=True)


def yes_probability(top_logprobs: Sequence[tuple[str, float]]) -> float:
    """The score from the most probable first tokens and their log-probabilities, the most probable one first.

    It is P("yes") in any case where that is among them, else 1 - P("no"), else 0.

    Raises:
      UnreadableAnswer: there are no tokens, or a log-probability is none.
    """
    if not top_logprobs:
        raise UnreadableAnswer("answer has no log-probabilities; ask an endpoint that gives top_logprobs")
    for token, value in top_logprobs:
        if math.isnan(value) or value > 1e-6:
            raise UnreadableAnswer(f"answer gives {token!r:.40} the log-probability {value}; it has to be 0 or less")
    for word in ("yes", "no"):
        for token, value in top_logprobs:
            if token.lower() == word:
                probability = min(math.exp(value), 1.0)
                return probability if word == "yes" else 1 - probability
    return 0.0


def says_yes_or_no(top_logprobs: Sequence[tuple[str, float]]) -> bool:
    """Whether one of the two words is among the tokens; ``yes_probability`` is 0 where none is."""
    return any(token.lower() in ("yes", "no") for token, _ in top_logprobs)


def values(top_logprobs: Sequence[tuple[str, float]]) -> dict[str, float]:
    """The values of a row: the score. See ``yes_probability``."""
    return {"score": yes_probability(top_logprobs)}

"""Judges of the benchmarks behind OpenAI-compatible endpoints: every key, see docs/evaluation.md.

    python -m irg_jax.evaluate score --run evaluations/wise --config judges --config.budget=20

Set for a server of your own on this machine, whose tokens cost nothing.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """One judge."""
    c = ConfigDict()
    c.judges = ConfigDict()
    c.judges.qwen = judge = ConfigDict()
    judge.base_url = "http://localhost:8000/v1"
    judge.model = "Qwen/Qwen2.5-VL-72B-Instruct"
    judge.key_env = ""  # the environment variable with the key; empty for none
    judge.concurrency = 32  # requests at a time
    # In the currency of the budget: a million tokens read, a million written.
    judge.price = ConfigDict(dict(input_tokens=0.0, output_tokens=0.0, picture=0.0))
    judge.max_tokens = 1024  # of an answer, where the benchmark does not say
    judge.token_limit = "max_tokens"  # or max_completion_tokens, the field that newer hosted models want
    judge.image_tokens = 4096  # of one picture that it is shown, at most, as the endpoint counts; for the budget
    judge.options = '{"temperature": 0.0}'  # more fields of the request, as JSON
    c.budget = 0.0  # hard; in the currency of the prices
    c.attempts = 3  # per question, before an image counts as unanswered
    c.template = ""  # a file or folder with the official template of the benchmark; empty: our own, not comparable
    c.template_choice = "first"  # of several official templates (TIIF); or random, as the official scorer
    c.requests = ConfigDict(dict(timeout_s=300.0, give_up_after_s=900.0))
    return c

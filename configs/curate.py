"""New training data with teachers: every key of ``irg_jax.curate``, see docs/curate.md.

    python -m irg_jax.curate --config curate --prompts prompts.txt --out data/curated --config.budget=20

The teachers of texts are set for a server of your own on this machine, whose tokens cost nothing; that of pictures for
a hosted model, with the prices left to you.
"""

from ml_collections import ConfigDict


def _teacher(**changes: object) -> ConfigDict:
    c = ConfigDict()
    c.base_url = "http://localhost:8000/v1"
    c.model = "Qwen/Qwen2.5-VL-72B-Instruct"
    c.key_env = ""  # the environment variable with the key; empty for none
    c.concurrency = 32  # requests at a time
    # In the currency of the budget: a million tokens read, a million written, one picture made.
    c.price = ConfigDict(dict(input_tokens=0.0, output_tokens=0.0, picture=0.0))
    c.max_tokens = 1024  # of an answer; for pictures what one is billed as at most, 0 if it has a price of its own
    c.token_limit = "max_tokens"  # or max_completion_tokens, the field that newer hosted models want
    c.image_tokens = 4096  # of one picture that it is shown, at most, as the endpoint counts; for estimate and budget
    c.options = '{"temperature": 0.7}'  # more fields of the request, as JSON
    c.update(changes)
    return c


def get_config() -> ConfigDict:
    """All four steps."""
    c = ConfigDict()
    c.steps = ("thinking1", "image1", "image2", "thinking2")  # that are made where the input does not give them
    c.thinking1 = _teacher()
    c.image1 = ConfigDict()
    c.image1.checkpoint = "checkpoints/bagel"  # a run, one of its checkpoints, or a folder of irg_jax.convert
    c.image1.step = None  # the latest
    c.image1.task = "turn1"  # after thinking 1; or text_to_image
    c.image1.preset = ""  # published timesteps and guidance by name, such as "paper"; empty: the run's own
    c.image1.sampling = ()  # changes of the run's section sampling, such as ("time_points=20",)
    c.image1.seed = 0
    c.image1.batch_size = 16
    c.image2 = _teacher(
        base_url="https://api.openai.com/v1",
        model="gpt-image-1",
        key_env="OPENAI_API_KEY",
        concurrency=4,
        max_tokens=0,
        options='{"size": "1024x1024"}',
    )
    c.image2.price.update(input_tokens=None, output_tokens=None, picture=None)  # to be given: those of your contract
    c.image2.method = "generate"  # or edit: image 1 is changed
    c.thinking2 = _teacher(max_tokens=2048)
    c.budget = 0.0  # hard; in the currency of the prices
    c.attempts = 3  # per answer, the reason of the refusal told each time
    c.checks = ConfigDict()
    c.checks.thinking1 = ConfigDict(dict(min_chars=80, max_chars=4000))
    c.checks.thinking2 = ConfigDict(dict(min_chars=300, max_chars=8000))
    c.checks.script = "prompt"  # of both texts: that of the prompt, "latin" or "any"
    c.checks.min_side = 256  # of a picture, pixels
    c.requests = ConfigDict(dict(timeout_s=300.0, give_up_after_s=900.0))
    c.page_samples = 24  # records on the page
    return c

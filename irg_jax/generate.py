"""Thinks, paints, reflects and repaints: ``python -m irg_jax.generate --checkpoint RUN --prompt "…" --out DIR``.

One prompt is written straight into DIR; prompts from a file, one a line, into DIR/00000, DIR/00001, ….
"""

import logging
from pathlib import Path

from absl import flags

from irg_jax import config as configs
from irg_jax.errors import UserError
from irg_jax.sampling import load, output

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "folder of a run of irg_jax.train", required=True)
_PROMPT = flags.DEFINE_string("prompt", None, "what to paint")
_PROMPTS = flags.DEFINE_string("prompts", None, "a text file with a prompt on each line")
_OUT = flags.DEFINE_string("out", None, "folder for pictures and thoughts", required=True)
_TURNS = flags.DEFINE_integer("turns", 2, "1 paints once, 2 reflects and paints again")
_SEED = flags.DEFINE_integer("seed", 0, "the same seed gives the same pictures")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "prompts sampled together", lower_bound=1)


def main() -> None:
    """Samples every prompt and writes it."""
    configs.log_plainly()
    if (_PROMPT.value is None) == (_PROMPTS.value is None):
        raise UserError("give either --prompt TEXT or --prompts FILE")
    prompts = [_PROMPT.value] if _PROMPT.value is not None else _read(Path(_PROMPTS.value or ""))
    out, size = Path(_OUT.value), min(_BATCH_SIZE.value, len(prompts))
    sampler = load.sampler(_CHECKPOINT.value)
    sampler.check(prompts, _TURNS.value)
    for first in range(0, len(prompts), size):
        # The last batch is filled up, so that one size is compiled.
        numbers = [min(i, len(prompts) - 1) for i in range(first, first + size)]
        results = sampler([prompts[i] for i in numbers], seed=_SEED.value, indices=numbers, turns=_TURNS.value)
        for result in results[: len(prompts) - first]:
            folder = out if _PROMPT.value is not None else out / f"{result.index:05d}"
            output.write(folder, result, sampler.origin)
            logging.info("%s: %s", folder, result.prompt)


def _read(path: Path) -> list[str]:
    try:
        prompts = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--prompts {path}: cannot be read ({error})") from error
    if not prompts:
        raise UserError(f"--prompts {path}: holds no prompt; write one on each line")
    return prompts


if __name__ == "__main__":
    configs.run(main, takes_config=False)

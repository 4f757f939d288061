"""Thinks, paints, reflects and repaints: ``python -m irg_jax.generate --checkpoint RUN --prompt "…" --out DIR``.

One prompt is written straight into DIR; prompts from a file, one a line, into DIR/00000, DIR/00001, …. Other tasks:

    --image FILE --prompt "question"              answers about a picture
    --task edit --image FILE --prompt "change"    paints the picture anew
    --task paint --prompt "…"                     paints without a thought
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import flags

from irg_jax import config as configs
from irg_jax.data import images
from irg_jax.errors import UserError
from irg_jax.sampling import load, output, settings
from irg_jax.sampling.sampler import Sampler

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "folder of a run, or of irg_jax.convert", required=True)
_TASK = flags.DEFINE_enum(
    "task", None, ["reason", "paint", "edit", "answer"], "reason if not given; answer with --image"
)
_PROMPT = flags.DEFINE_string("prompt", None, "what to paint, or a question about --image")
_PROMPTS = flags.DEFINE_string("prompts", None, "a text file with a prompt on each line")
_IMAGE = flags.DEFINE_string("image", None, "the picture to answer about or to edit")
_OUT = flags.DEFINE_string("out", None, "folder for pictures and thoughts", required=True)
_TURNS = flags.DEFINE_integer("turns", 2, "1 paints once, 2 reflects and paints again")
_SEED = flags.DEFINE_integer("seed", 0, "the same seed gives the same pictures")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "prompts sampled together", lower_bound=1)
_SAMPLING = flags.DEFINE_multi_string("sampling", [], "KEY=VALUE of the sampling section, such as temperature=0.0")
_THINKING = [
    flags.DEFINE_string(f"thinking{turn}", None, f"a text file to use as thinking {turn}; --prompt only")
    for turn in (1, 2)
]
_NOISE = flags.DEFINE_string(
    "noise", None, "an .npz with turn1 and turn2 [tokens, channels] to start from; --prompt only"
)
_PRESET = flags.DEFINE_enum("preset", None, list(settings.PRESETS), "published times and guidance, not the run's own")


def main() -> None:
    """Samples every prompt and writes it."""
    configs.log_plainly()
    if (_PROMPT.value is None) == (_PROMPTS.value is None):
        raise UserError("give either --prompt TEXT or --prompts FILE")
    task = _TASK.value or ("answer" if _IMAGE.value else "reason")
    if (_IMAGE.value is not None) != (task in ("edit", "answer")):
        raise UserError(f"--task {task}: {'needs' if _IMAGE.value is None else 'takes no'} --image FILE")
    prompts = [_PROMPT.value] if _PROMPT.value is not None else _read(Path(_PROMPTS.value or ""))
    sampler = load.sampler(_CHECKPOINT.value, _PRESET.value or "", **settings.parse(_SAMPLING.value))
    sampler.check(prompts, _TURNS.value)
    if task == "reason":
        _reason(sampler, prompts)
    elif task == "paint":
        _paint(sampler, prompts)
    else:
        _with_picture(sampler, task, prompts)


def _reason(sampler: Sampler, prompts: Sequence[str]) -> None:
    given = _given()
    if any(given.values()) and _PROMPT.value is None:
        raise UserError("--thinking1, --thinking2 and --noise belong to one --prompt")
    for numbers, size in _batches(prompts):
        wanted = [prompts[i] for i in numbers]
        results = sampler(wanted, seed=_SEED.value, indices=numbers, turns=_TURNS.value, **given)
        for result in results[:size]:
            output.write(_folder(result.index), result, sampler.origin)
            logging.info("%s: %s", _folder(result.index), result.prompt)


def _paint(sampler: Sampler, prompts: Sequence[str]) -> None:
    for numbers, size in _batches(prompts):
        pictures = sampler.paint([prompts[i] for i in numbers], seed=_SEED.value, indices=numbers)
        for i, picture in list(zip(numbers, pictures, strict=True))[:size]:
            _write(i, "picture.png", images.encode_png(picture), prompts[i])


def _with_picture(sampler: Sampler, task: str, prompts: Sequence[str]) -> None:
    path = Path(_IMAGE.value or "")
    try:
        picture = images.decode(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"--image {path}: cannot be read ({error.strerror})") from error
    for i, prompt in enumerate(prompts):
        if task == "edit":
            _write(i, "picture.png", images.encode_png(sampler.edit(picture, prompt, seed=_SEED.value)), prompt)
        else:
            answer = sampler.answer(picture, prompt, seed=_SEED.value)
            _write(i, "answer.txt", answer.encode("utf-8"), prompt)
            logging.info("%s", answer)


def _given() -> dict[str, list]:
    """Thoughts and noise that are given instead of drawn."""
    paths = [Path(flag.value) for flag in _THINKING if flag.value is not None]
    if _THINKING[0].value is None and paths:
        raise UserError("--thinking2: needs --thinking1 too; a thought stands for those of all turns before it")
    try:
        thoughts = [[path.read_text("utf-8")] for path in paths]
        noise = [] if _NOISE.value is None else [np.load(_NOISE.value)[f"turn{turn}"][None] for turn in (1, 2)]
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"--thinking1, --thinking2, --noise: cannot be read ({error})") from error
    return {"thoughts": thoughts, "noise": noise}


def _batches(prompts: Sequence[str]) -> list[tuple[list[int], int]]:
    """Numbers of the prompts of each batch, and how many count: the last is filled up, so that one size is compiled."""
    size = min(_BATCH_SIZE.value, len(prompts))
    firsts = range(0, len(prompts), size)
    return [([min(i, len(prompts) - 1) for i in range(k, k + size)], min(size, len(prompts) - k)) for k in firsts]


def _folder(index: int) -> Path:
    return Path(_OUT.value) if _PROMPT.value is not None else Path(_OUT.value) / f"{index:05d}"


def _write(index: int, name: str, content: bytes, prompt: str) -> None:
    folder = _folder(index)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    logging.info("%s: %s", folder / name, prompt)


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

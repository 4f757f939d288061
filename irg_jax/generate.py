"""Thinks, paints, reflects and repaints: ``python -m irg_jax.generate --checkpoint RUN --prompt "…" --out DIR``.

One prompt is written straight into DIR; prompts from a file, one a line, into DIR/00000, DIR/00001, …. Other tasks:

    --image FILE --prompt "question"              answers about a picture
    --task edit --image FILE --prompt "change"    paints the picture anew
    --task paint --prompt "…"                     paints without a thought
"""

import logging
from collections.abc import Sequence
from pathlib import Path

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
    sampler = load.sampler(_CHECKPOINT.value, _PRESET.value or "")
    sampler.check(prompts, _TURNS.value)
    if task == "reason":
        _reason(sampler, prompts)
    elif task == "paint":
        _paint(sampler, prompts)
    else:
        _with_picture(sampler, task, prompts)


def _reason(sampler: Sampler, prompts: Sequence[str]) -> None:
    for numbers, size in _batches(prompts):
        results = sampler([prompts[i] for i in numbers], seed=_SEED.value, indices=numbers, turns=_TURNS.value)
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

"""Controls: second turns in which one thing is changed, to tell whether looking at image 1 is what helps.

A second turn may be better than the first because it looks, or because it is a second try, or longer, or of the plan
alone. So the second turn of each sample is repeated with another sample's thinking 2, with another sample's image 1,
and with image 2 in the place of image 1, once and twice. Beside them stand a first turn with as many steps as two turns
take, the better one of two first turns, which the model itself chooses by what it says about them, and image 2 only
where thinking 2 finds a fault.
"""

import logging
from collections.abc import Callable, Sequence

import numpy as np

from irg_jax.checkpoints.weights import open_stage
from irg_jax.core.small_files import make_folder, write_bytes, write_json
from irg_jax.core.storage import AnyPath, retry
from irg_jax.data.images import encode_png
from irg_jax.experiment.config import EvaluateConfig
from irg_jax.experiment.held_out import batches
from irg_jax.experiment.measured import Measured, read_measured
from irg_jax.reporting.controls import FILE, image_file
from irg_jax.reporting.load import Sample, load_run
from irg_jax.sampling import engine
from irg_jax.sampling.sampler import Sampler
from irg_jax.worlds.shapes.thinking import parse_reflection

_UNREADABLE = 1000  # faults that count for a thinking 2 without the fixed form


def measure(run: AnyPath, evaluate: EvaluateConfig, workdir: AnyPath, step: int | None = None) -> None:
    """Samples every control for the first samples of ``workdir``, and writes ``controls.json`` beside them.

    Samples without a scene, and those whose texts the model could not take in again, are left out and counted. Nothing
    is done where the file is there for this checkpoint and as many samples.

    Args:
      run: folder of the stage whose EMA weights are used.
      evaluate: of how many samples, and how.
      workdir: of the report, with ``samples``.
      step: of the checkpoint; the latest if not given.

    Raises:
      UserError: no samples of that checkpoint, or no checkpoint in ``run``.
      StorageError: the storage went on answering with errors.
    """
    stage = open_stage(run, step)
    if read_measured(workdir / FILE) == Measured(stage.step, evaluate.controls):
        return
    sampler = engine.load_sampler(stage.folder, step=stage.step)
    asked = load_run(workdir, stage.step).samples[: evaluate.controls]
    samples = [sample for sample in asked if sample.scene and _fits(sampler, sample)]
    if len(samples) < len(asked):
        logging.warning("%s: controls leave out %d of %d samples", workdir, len(asked) - len(samples), len(asked))
    images: dict[str, list[str]] = {}
    for batch, padded in batches(range(len(samples)), evaluate.batch_size):
        own = [samples[i] for i in padded]
        others = [_other(samples, i) for i in padded]
        for control in _CONTROLS:
            for name, pictures in control(sampler, own, others, evaluate.seed).items():
                for i, picture in zip(batch, pictures, strict=False):
                    sample = samples[i].path.parent.name
                    _write_image(workdir / image_file(name, sample), picture)
                    images.setdefault(name, []).append(sample)
        logging.info("controls of %d of %d samples", batch[-1] + 1, len(samples))
    values = {"checkpoint": str(stage.folder), "step": stage.step, "asked": evaluate.controls, "images": images}
    retry(lambda: write_json(workdir / FILE, values), f"{workdir / FILE}: cannot be written")


def _fits(sampler: Sampler, sample: Sample) -> bool:
    return sampler.fits(sample.prompt, *(turn.thinking for turn in sample.turns))


def _other(samples: Sequence[Sample], index: int) -> Sample:
    """The next sample of another prompt; itself where there is none."""
    following = (samples[(index + k) % len(samples)] for k in range(1, len(samples)))
    return next((other for other in following if other.prompt != samples[index].prompt), samples[index])


def _write_image(path: AnyPath, picture: np.ndarray) -> None:
    make_folder(path.parent)
    retry(lambda: write_bytes(path, encode_png(picture)), f"{path}: cannot be written")


# --- controls: from samples and as many others to pictures by name

_Pictures = dict[str, Sequence[np.ndarray]]
_Control = Callable[[Sampler, Sequence[Sample], Sequence[Sample], int], _Pictures]


def _another_reflection(sampler: Sampler, own: Sequence[Sample], others: Sequence[Sample], seed: int) -> _Pictures:
    return {"another reflection": _improve(sampler, own, _images(own, 0), _texts(others, 1), seed)}


def _another_picture(sampler: Sampler, own: Sequence[Sample], others: Sequence[Sample], seed: int) -> _Pictures:
    return {"another picture": _improve(sampler, own, _images(others, 0), _texts(own, 1), seed)}


def _more_turns(sampler: Sampler, own: Sequence[Sample], others: Sequence[Sample], seed: int) -> _Pictures:
    found: _Pictures = {}
    pictures = _images(own, 1)
    for turn in (3, 4):
        written = [text for text, _ in _reflect(sampler, own, _texts(own, 0), pictures, seed)]
        # A text that was cut may have more tokens when it is read again: then there is no further turn.
        fits = [sampler.fits(sample.prompt, "", text) for sample, text in zip(own, written, strict=True)]
        texts = [text if fit else "" for text, fit in zip(written, fits, strict=True)]
        improved = _improve(sampler, own, pictures, texts, seed)
        pictures = [new if fit else old for new, old, fit in zip(improved, pictures, fits, strict=True)]
        found[f"turn {turn}"] = pictures
    return found


def _twice_the_steps(sampler: Sampler, own: Sequence[Sample], others: Sequence[Sample], seed: int) -> _Pictures:
    """The first turn again, from the same noise and after the same thinking."""
    longer = sampler.with_steps(2)
    again = longer(_prompts(own), seed=seed, indices=_indices(own), turns=1, thinking=[_texts(own, 0)])
    return {"one turn, twice the steps": [result.turns[0].image for result in again]}


def _better_of_two(sampler: Sampler, own: Sequence[Sample], others: Sequence[Sample], seed: int) -> _Pictures:
    """Both first turns are judged by the thinking 2 that the model writes about them."""
    again = sampler(_prompts(own), seed=seed + 1, indices=_indices(own), turns=1)
    texts = [result.turns[0].thinking for result in again]
    texts = [text if sampler.fits(sample.prompt, text) else "" for sample, text in zip(own, texts, strict=True)]
    second = [result.turns[0].image for result in again]
    said = [text for text, _ in _reflect(sampler, own, texts, second, seed)]
    first = _images(own, 0)
    faults = [(_named(mine.turns[1].thinking), _named(text)) for mine, text in zip(own, said, strict=True)]
    chosen = [b if of_b < of_a else a for a, b, (of_a, of_b) in zip(first, second, faults, strict=True)]
    return {"better of two": chosen}


def _only_where_wrong(sampler: Sampler, own: Sequence[Sample], others: Sequence[Sample], seed: int) -> _Pictures:
    """Image 1 is kept where thinking 2 says that nothing is wrong with it."""
    pairs = zip(own, _images(own, 0), _images(own, 1), strict=True)
    chosen = [new if _named(sample.turns[1].thinking) else old for sample, old, new in pairs]
    return {"image 2 only where faults are named": chosen}


_CONTROLS: tuple[_Control, ...] = (
    _another_reflection,
    _another_picture,
    _more_turns,
    _twice_the_steps,
    _better_of_two,
    _only_where_wrong,
)


def _named(thinking2: str) -> int:
    said = parse_reflection(thinking2)
    return _UNREADABLE if said is None or said.faults is None else len(said.faults)


def _reflect(
    sampler: Sampler, own: Sequence[Sample], thinking1: Sequence[str], pictures: Sequence[np.ndarray], seed: int
) -> list[tuple[str, bool]]:
    return sampler.reflect(_prompts(own), thinking1, pictures, seed=seed, indices=_indices(own))


def _improve(
    sampler: Sampler, own: Sequence[Sample], pictures: Sequence[np.ndarray], thinking2: Sequence[str], seed: int
) -> Sequence[np.ndarray]:
    given = (_prompts(own), _texts(own, 0), pictures, thinking2)
    return list(sampler.improve(*given, seed=seed, indices=_indices(own)))


def _prompts(samples: Sequence[Sample]) -> list[str]:
    return [sample.prompt for sample in samples]


def _indices(samples: Sequence[Sample]) -> list[int]:
    return [sample.index for sample in samples]


def _texts(samples: Sequence[Sample], turn: int) -> list[str]:
    return [sample.turns[turn].thinking for sample in samples]


def _images(samples: Sequence[Sample], turn: int) -> list[np.ndarray]:
    return [np.asarray(sample.turns[turn].image) for sample in samples]

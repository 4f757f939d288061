"""Two-turn reasoning and other tasks: ``python -m irg_jax.generate --checkpoint RUN --prompt "…" --out DIR``.

Thinks, generates an image, reflects and generates a better one. The result of --prompt is written into DIR; those of
--prompts, a file with one prompt per line, into DIR/00000, DIR/00001, …. Other tasks:

    --image FILE --prompt "question"              answers a question about an image
    --task edit --image FILE --prompt "change"    edits an image
    --task text_to_image --prompt "…"             generates an image without thinking

Several images are given one after another, --image FILE --image FILE, and are seen in this order before the prompt; an
edited image has the size of the last of them.

Several processes (``JAX_COORDINATOR_ADDRESS`` and the like, as for training) share the prompts: process p of P takes
prompts p, p + P, … and samples them on its own devices, with its own copy of the weights. For a model that does not fit
the devices of one process, start one process per host, which has all of its devices.
"""

import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import PIL.Image
from absl import flags

from irg_jax.core.config.command_line import log_plainly, run_command
from irg_jax.core.config.schema import dataclass_from_mapping, parse_assignments
from irg_jax.core.errors import UserError
from irg_jax.core.outputs import check_output_folder
from irg_jax.core.small_files import read_given_text, read_lines, write_bytes
from irg_jax.core.text import check_text
from irg_jax.data import images
from irg_jax.sampling import engine, output
from irg_jax.sampling.config import PRESETS, SamplingConfig
from irg_jax.sampling.sampler import Sampler
from irg_jax.sharding import processes
from irg_jax.sharding.mesh import MeshConfig

FLAGS = flags.FlagValues()  # of this command alone, so that any program can import this module
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "folder of a run, of a checkpoint, or of irg_jax.convert", required=True, flag_values=FLAGS
)
_STEP = flags.DEFINE_integer("step", None, "of the checkpoint; the latest if not given", flag_values=FLAGS)
_TASK = flags.DEFINE_enum(
    "task",
    None,
    ["reason", "text_to_image", "edit", "answer"],
    "default: reason, or answer if --image is given",
    flag_values=FLAGS,
)
_PROMPT = flags.DEFINE_string("prompt", None, "what to generate, or a question about --image", flag_values=FLAGS)
_PROMPTS = flags.DEFINE_string("prompts", None, "a text file with one prompt per line", flag_values=FLAGS)
_IMAGES = flags.DEFINE_multi_string(
    "image", [], "an image to answer a question about or to edit; repeat it for several, in order", flag_values=FLAGS
)
_OUT = flags.DEFINE_string("out", None, "folder for the images and thinking texts", required=True, flag_values=FLAGS)
_TURNS = flags.DEFINE_integer("turns", 2, "1: one image; 2: reflects and generates a second one", flag_values=FLAGS)
_SEED = flags.DEFINE_integer(
    "seed", 0, "the same seed gives the same images", lower_bound=0, upper_bound=2**32 - 1, flag_values=FLAGS
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 16, "prompts sampled together, over all devices of a process", lower_bound=1, flag_values=FLAGS
)
_MESH = flags.DEFINE_multi_string(
    "mesh",
    [],
    "AXIS=DEVICES, such as tensor=4; the devices that are left split the batch (axis fsdp)",
    flag_values=FLAGS,
)
_SAMPLING = flags.DEFINE_multi_string(
    "sampling", [], "KEY=VALUE in the config section sampling, such as temperature=0.0", flag_values=FLAGS
)
_THINKING = [
    flags.DEFINE_string(
        f"thinking{turn}", None, f"a text file to use as thinking {turn}; with --prompt only", flag_values=FLAGS
    )
    for turn in (1, 2)
]
_NOISE = flags.DEFINE_string(
    "noise",
    None,
    "an .npz with turn1 and turn2 [tokens, channels] to start from; with --prompt only",
    flag_values=FLAGS,
)
_PRESET = flags.DEFINE_enum(
    "preset", None, list(PRESETS), "published timesteps and guidance instead of the run's own", flag_values=FLAGS
)


def main() -> None:
    """Samples every prompt and writes the results."""
    log_plainly()
    if (_PROMPT.value is None) == (_PROMPTS.value is None):
        raise UserError("give either --prompt TEXT or --prompts FILE")
    task = _TASK.value or ("answer" if _IMAGES.value else "reason")
    if bool(_IMAGES.value) != (task in ("edit", "answer")):
        raise UserError(f"--task {task}: {'does not take' if _IMAGES.value else 'needs'} --image FILE")
    # All that is given is looked at before a model is loaded.
    prompts = _read_prompts()
    pictures = [_read_image(Path(name)) for name in _IMAGES.value]
    given = _given_thinking_and_noise()
    axes = parse_assignments(MeshConfig, _MESH.value, "mesh")
    mesh = dataclass_from_mapping(MeshConfig, axes, "mesh") if axes else None
    changes = parse_assignments(SamplingConfig, _SAMPLING.value, "sampling")
    check_output_folder(_OUT.value, "--out")
    processes.initialize()
    share = range(jax.process_index(), len(prompts), jax.process_count())
    if share:
        sampler = engine.load_sampler(_CHECKPOINT.value, _PRESET.value or "", step=_STEP.value, mesh=mesh, **changes)
        sampler.check(prompts, _TURNS.value)
        if task == "reason":
            _reason(sampler, prompts, share, given)
        elif task == "text_to_image":
            _text_to_image(sampler, prompts, share)
        else:
            _edit_or_answer(sampler, task, pictures, prompts, share)
    processes.wait_for_all("generated")


def _reason(sampler: Sampler, prompts: Sequence[str], share: range, given: dict[str, list]) -> None:
    for indices, size in _batches(share):
        batch = [prompts[i] for i in indices]
        results = sampler(batch, seed=_SEED.value, indices=indices, turns=_TURNS.value, **given)
        for result in results[:size]:
            output.write(_folder(result.index), result, sampler.origin)
            logging.info("%s: %s", _folder(result.index), result.prompt)


def _text_to_image(sampler: Sampler, prompts: Sequence[str], share: range) -> None:
    for indices, size in _batches(share):
        sampled = sampler.text_to_image([prompts[i] for i in indices], seed=_SEED.value, indices=indices)
        for i, image in list(zip(indices, sampled, strict=True))[:size]:
            _write(i, "image.png", images.encode_png(image), prompts[i])


def _edit_or_answer(
    sampler: Sampler, task: str, pictures: Sequence[PIL.Image.Image], prompts: Sequence[str], share: range
) -> None:
    for i in share:
        prompt = prompts[i]
        if task == "edit":
            _write(i, "image.png", images.encode_png(sampler.edit(pictures, prompt, seed=_SEED.value)), prompt)
        else:
            answer = sampler.answer(pictures, prompt, seed=_SEED.value)
            _write(i, "answer.txt", answer.encode("utf-8"), prompt)
            logging.info("%s", answer)


def _given_thinking_and_noise() -> dict[str, list]:
    """Keyword arguments of the sampler: thinking and noise from files."""
    files = [(flag.name, flag.value) for flag in _THINKING if flag.value is not None]
    if _THINKING[0].value is None and files:
        raise UserError("--thinking2 needs --thinking1 too")
    if (files or _NOISE.value is not None) and _PROMPT.value is None:
        raise UserError("--thinking1, --thinking2 and --noise need --prompt, not --prompts")
    noise = [] if _NOISE.value is None else [_read_noise(_NOISE.value, turn)[None] for turn in (1, 2)]
    return {"thinking": [[read_given_text(path, flag)] for flag, path in files], "noise": noise}


def _read_noise(path: str, turn: int) -> np.ndarray:
    name = f"turn{turn}"
    try:
        with np.load(path) as arrays:
            noise = np.asarray(arrays[name], np.float32)
    except (OSError, KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"--noise {path}: {name} cannot be read ({error}); give an .npz with turn1, turn2") from error
    if noise.ndim != 2 or not np.isfinite(noise).all():
        raise UserError(f"--noise {path}: {name} of shape {noise.shape} must be [tokens, channels] and finite")
    return noise


def _read_image(path: Path) -> PIL.Image.Image:
    try:
        return images.decode(path.read_bytes(), f"--image {path}")
    except OSError as error:
        raise UserError(f"--image {path}: cannot be read ({error.strerror})") from error


def _batches(share: range) -> list[tuple[list[int], int]]:
    """Indices of the prompts of each batch, and how many of them are real: the last batch is padded to one size."""
    size = min(_BATCH_SIZE.value, len(share))
    starts = range(0, len(share), size)
    return [([share[min(i, len(share) - 1)] for i in range(k, k + size)], min(size, len(share) - k)) for k in starts]


def _folder(index: int) -> Path:
    return Path(_OUT.value) if _PROMPT.value is not None else Path(_OUT.value) / f"{index:05d}"


def _write(index: int, name: str, content: bytes, prompt: str) -> None:
    folder = _folder(index)
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / name, content)
    logging.info("%s: %s", folder / name, prompt)


def _read_prompts() -> list[str]:
    if _PROMPT.value is not None:
        return [check_text(_PROMPT.value, "--prompt")]
    prompts = read_lines(_PROMPTS.value or "", "prompts")
    if not prompts:
        raise UserError(f"--prompts {_PROMPTS.value}: contains no prompt; write one per line")
    return prompts


if __name__ == "__main__":
    run_command(main, on_failure=processes.announce_failure, flag_values=FLAGS)

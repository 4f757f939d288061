"""VQAScore of CLIP-FlanT5-XXL (Lin et al. 2024, arXiv 2404.01291), by the package of its authors.

The package pins what this project needs newer (t2v_metrics 3.0: numpy 1.26.4, Pillow 10.0.0, transformers 4.49.0 and so
tokenizers below 0.22), so that no environment holds both. It is therefore installed in one of its own, and
``vqascore_worker`` runs there.
"""

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from irg_jax.benchmarks.benchmark import FoundImages, PromptSet
from irg_jax.benchmarks.genai_bench.judge import WORDING
from irg_jax.benchmarks.genai_bench.prompts import is_scored
from irg_jax.benchmarks.measurements import Measured, Model, Owed, Value
from irg_jax.core.errors import UserError

MODEL = "clip-flant5-xxl"
# The package's defaults for this model, given to it so that another version cannot change them.
QUESTION, ANSWER = WORDING, "Yes"

_WORKER = Path(__file__).with_name("vqascore_worker.py")
_INSTALL = "install t2v-metrics==3.0 in an environment of its own and give its interpreter with --python"


def owed(prompts: PromptSet, found: FoundImages) -> list[Owed]:
    """The prompts that count and have an image."""
    return [
        Owed(item.key, item.prompt, (found.images[item.key, 0],))
        for item in prompts.items
        if is_scored(item) and (item.key, 0) in found.images
    ]


def table(prompts: PromptSet, scores: Mapping[str, Value]) -> dict[str, Value]:
    """What ``vqascore.read_rows`` reads: the score of each prompt that has one."""
    return {item.key: scores[item.key] for item in prompts.items if item.key in scores}


@contextlib.contextmanager
def load(device: str, weights: Path, *, python: str) -> Iterator[Model]:
    """A model that gives the score of the image of each prompt, 0 to 1; its process ends with the block.

    Args:
      device: of torch.
      weights: folder of a Hugging Face cache; what is missing is downloaded to it.
      python: the interpreter of an environment with t2v_metrics.

    Raises:
      UserError: the interpreter cannot be started, or it cannot load the package or the model.
    """
    try:
        process = subprocess.Popen(
            [python, str(_WORKER), MODEL, device, str(weights)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
    except OSError as error:
        raise UserError(f"--python: {python} cannot be started ({error.strerror}); {_INSTALL}") from error
    with process, tempfile.TemporaryDirectory() as folder:
        try:
            version = _answer(process, f"{MODEL} cannot be loaded by {python}", f"{_INSTALL} (docs/evaluation.md)")
            yield Model(
                f"{MODEL} through t2v_metrics {version}, question {QUESTION!r}, answer {ANSWER!r}",
                lambda batch: _scores(process, batch, Path(folder)),
            )
        finally:
            process.kill()  # it holds nothing that is not in the file


def _scores(process: subprocess.Popen[str], batch: Sequence[Measured], folder: Path) -> list[Value]:
    pairs = []
    for number, one in enumerate(batch):
        path = folder / f"{number}.jpeg"  # the package takes paths
        path.write_bytes(one.images[0])
        pairs.append({"images": [str(path)], "texts": [one.prompt]})
    assert process.stdin
    with contextlib.suppress(BrokenPipeError):  # the answer says why
        process.stdin.write(json.dumps({"pairs": pairs, "question": QUESTION, "answer": ANSWER}) + "\n")
        process.stdin.flush()
    keys = ", ".join(one.key for one in batch)
    scores = _answer(
        process, f"{MODEL} failed at {keys}", "what was measured before is kept; try the same command again"
    )
    for one, score in zip(batch, scores, strict=True):
        if not 0 <= score <= 1:
            raise UserError(f"{one.key}: the model gives {score!r}, not 0 to 1; check --device and the weights")
    return list(scores)


def _answer(process: subprocess.Popen[str], what: str, remedy: str) -> Any:
    """What the worker says. Raises UserError where that is an error or nothing."""
    assert process.stdout
    said = process.stdout.readline()
    if not said.endswith("\n"):
        raise UserError(f"{what}: the process ended with status {process.wait()}; {remedy}")
    answer = json.loads(said)
    if "error" in answer:
        raise UserError(f"{what} ({answer['error']}); {remedy}")
    return answer["value"]

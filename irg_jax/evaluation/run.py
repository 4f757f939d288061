"""The folder of one run of a benchmark: which prompts, which model, which seed, and where each image is.

``OUT/run.json`` says what is sampled, ``OUT/images/KEY/SAMPLE`` is one trajectory (turn1.png, thinking1.txt, …), and
``OUT/turn1``, ``OUT/turn2`` are the official layouts.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from irg_jax.benchmarks.benchmark import Item, PromptSet
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import read_text

FILE = "run.json"
IMAGES = "images"


@dataclasses.dataclass(frozen=True)
class BenchmarkRun:
    """What decides every image of a run.

    Attributes:
      benchmark: its name.
      version: of its prompts.
      prompts: where they were read from; may differ when the run goes on.
      prompts_digest: of those files.
      images: the number of images of one turn.
      model: the name in the official layouts.
      checkpoint: folder of the weights; may differ when the run goes on.
      step: of the checkpoint.
      weights: checksum of the weights, see ``checkpoints.weights.digest``.
      turns: 1 or 2.
      seed: of all images, with the name of each.
      sampling: the section of the config with all changes.
    """

    benchmark: str
    version: str
    prompts: str
    prompts_digest: str
    images: int
    model: str
    checkpoint: str
    step: int
    weights: str
    turns: int
    seed: int
    sampling: dict[str, Any]


class Sample(NamedTuple):
    """One image that is owed for each turn."""

    item: Item
    number: int

    def folder(self, out: Path) -> Path:
        """Of its trajectory."""
        return out / IMAGES / self.item.key / str(self.number)

    def image(self, out: Path, turn: int) -> Path:
        """The PNG of a turn."""
        return self.folder(out) / f"turn{turn}.png"

    def random_index(self, benchmark: str) -> int:
        """What its random numbers derive from, with the seed: its name, so that no order or batch changes them."""
        name = f"{benchmark}/{self.item.key}/{self.number}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


def samples(prompts: PromptSet) -> list[Sample]:
    """All that is owed, in the order of the prompts."""
    return [Sample(item, number) for item in prompts.items for number in range(item.samples)]


def read_run(out: Path) -> BenchmarkRun:
    """The run in a folder. Raises UserError where there is none, or a damaged one."""
    path = out / FILE
    try:
        values = json.loads(read_text(path))
        values["sampling"] = dict(values["sampling"])
        return BenchmarkRun(**values)
    except FileNotFoundError as error:
        raise UserError(f"{out}: has no {FILE}; give a folder that irg_jax.evaluate generate wrote") from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: is damaged ({error}); put it back, or generate into another folder") from error


def layout_folder(out: Path, turn: int) -> Path:
    """Where the official layout of a turn is."""
    return out / f"turn{turn}"


def is_done(sample: Sample, out: Path, run: BenchmarkRun) -> bool:
    """Whether a trajectory of this run is complete: its last file is there, and its images."""
    try:
        values = json.loads(read_text(sample.folder(out) / "trajectory.json"))
        made = (values["step"], values["seed"], len(values["turns"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False
    images = (sample.image(out, turn) for turn in range(1, run.turns + 1))
    return made == (run.step, run.seed, run.turns) and all(image.is_file() for image in images)

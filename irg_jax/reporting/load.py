"""Reads a run folder: its config, the metrics of its stages, its held-out samples, and its perception."""

import dataclasses
import io
import json
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from PIL import Image

from irg_jax.core.errors import UserError
from irg_jax.core.small_files import is_hidden, read_text
from irg_jax.core.storage import AnyPath, retry, storage_reason
from irg_jax.core.text import check_text
from irg_jax.reporting import controls
from irg_jax.reporting.perception import Reading, from_record
from irg_jax.training import metrics

PERCEPTION_FILE = "perception.json"

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Stage:
    """The training curves of one stage: rows of `metrics.csv`, a missing cell being a missing key."""

    name: str
    rows: list[dict[str, float]]

    def series(self, column: str) -> list[tuple[float, float]]:
        """The (step, value) points of one column; empty where the stage never wrote it."""
        return [(row["step"], row[column]) for row in self.rows if column in row]


@dataclasses.dataclass(frozen=True)
class Turn:
    """One thinking and the image generated after it; `complete` is False where the thinking ran out of tokens."""

    thinking: str
    image: Image.Image
    complete: bool


@dataclasses.dataclass(frozen=True)
class Sample:
    """One held-out prompt and the model's two turns; `scene` is empty where nothing can check the images."""

    path: AnyPath
    prompt: str
    index: int
    seed: int
    checkpoint: str
    step: int
    scene: str
    turns: tuple[Turn, Turn]


@dataclasses.dataclass(frozen=True)
class Perception:
    """How true thinking 2 is of weak pictures of the data set; ``step`` is that of the checkpoint that wrote it."""

    step: int
    readings: list[Reading]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Attributes:
      path: the folder.
      config: `config.json` as saved: `stages` by name, or a single stage.
      info: `run.json`: command, commit, started, seconds by phase; empty where the file is broken.
      stages: training curves, in the order of the stages' names.
      samples: in the order of their folders.
      perception: on pictures of the data set; None where that was not measured.
      controls: the pictures of each control of the second turn, by its name, then by the folder of the sample.
    """

    path: AnyPath
    config: dict[str, Any]
    info: dict[str, Any]
    stages: list[Stage]
    samples: list[Sample]
    perception: Perception | None
    controls: dict[str, dict[str, Image.Image]]

    @property
    def initial_target(self) -> str:
        """Which image the first turn was trained to generate, "draft" or "good"; "" where the config does not say."""
        targets = (section(stage, "data").get("initial_target") for stage in self.stage_configs.values())
        return next((target for target in targets if isinstance(target, str)), "")

    @property
    def stage_configs(self) -> dict[str, dict[str, Any]]:
        """The configs of the stages in the order in which they run, a single one as ``train``; empty without any."""
        if "stages" in self.config:
            stages = section(self.config, "stages")
            return {name: section(stages, name) for name in sorted(stages)}
        return {"train": self.config} if self.config else {}


def section(config: dict[str, Any], key: str) -> dict[str, Any]:
    """A section of a config; empty where there is none: configs of other versions and programs make a report too."""
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def load_run(path: AnyPath, step: int | None = None) -> Run:
    """Reads a run folder; hidden folders in it do not count, and what is missing stays empty.

    Args:
      path: the folder.
      step: takes only what the checkpoint of this step has sampled and seen; everything if not given.

    Raises:
      UserError: no such folder, neither metrics nor samples, no samples of that step, or a broken file, by its name.
      StorageError: the storage went on answering with errors.
    """
    check_run_folder(path)
    run = Run(
        path=path,
        config=_read_object(path / "config.json"),
        info=_read_info(path / "run.json"),
        stages=_load_stages(path),
        samples=[_load_sample(file) for file in _visible(path / "samples", "trajectory.json")],
        perception=_load_perception(path / PERCEPTION_FILE),
        controls=_load_controls(path, step),
    )
    if not run.stages and not run.samples:
        raise UserError(f"{path}: no {metrics.METRICS_FILE} and no samples; train or sample into this folder first")
    if step is None:
        return run
    perception = run.perception if run.perception and run.perception.step == step else None
    return dataclasses.replace(run, samples=_of_step(run, step), perception=perception)


def check_run_folder(path: AnyPath) -> None:
    """Raises UserError where there is no such folder."""
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; give the --workdir of a run")


def _of_step(run: Run, step: int) -> list[Sample]:
    chosen = [sample for sample in run.samples if sample.step == step]
    if not chosen:
        steps = ", ".join(map(str, sorted({sample.step for sample in run.samples})))
        there = f"its samples are of step {steps}" if steps else "it has no samples at all; run without --step"
        raise UserError(f"--step {step}: {run.path} has no samples of that step; {there}")
    return chosen


def _visible(path: AnyPath, name: str) -> list[AnyPath]:
    """The files of this name in the folders of a folder, without hidden ones such as ``.ipynb_checkpoints``."""
    return [file for file in sorted(path.glob(f"*/{name}")) if not is_hidden(file.parent)]


def _load_stages(path: AnyPath) -> list[Stage]:
    single = path / metrics.METRICS_FILE
    named = [("train", single)] * single.exists()
    named += [(file.parent.name, file) for file in _visible(path, metrics.METRICS_FILE)]
    stages = [Stage(name, _readable(file, metrics.read_metrics)[1]) for name, file in named]
    return [stage for stage in stages if stage.rows]


def _readable(path: AnyPath, read: Callable[[AnyPath], T]) -> T:
    """``read(path)``, where what the operating system says becomes a UserError."""
    try:
        return retry(lambda: read(path), f"{path}: cannot be read")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({storage_reason(error)})") from error


def _read_object(path: AnyPath) -> dict[str, Any]:
    """The JSON object of a file; empty where there is no such file."""
    if not path.exists():
        return {}
    try:
        text = _readable(path, read_text)
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        what = "is empty" if isinstance(error, json.JSONDecodeError) and not text.strip() else f"not JSON ({error})"
        raise UserError(f"{path}: {what}; put an intact copy there, or remove it") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds a {type(value).__name__}, not a JSON object")
    check_text(json.dumps(value, ensure_ascii=False), str(path))
    return value


def _read_info(path: AnyPath) -> dict[str, Any]:
    """``run.json``, or nothing where it is broken: it only holds times, for which no report should fail."""
    try:
        info = _read_object(path)
        seconds = info.get("seconds", {})
        if not isinstance(seconds, dict) or not all(isinstance(spent, int | float) for spent in seconds.values()):
            raise UserError(f"{path}: seconds is not an object of numbers")
    except UserError as error:
        logging.warning("%s; the report goes without the times of this run", error)
        return {}
    return info


def _load_perception(path: AnyPath) -> Perception | None:
    values = _read_object(path)
    if not values.get("records"):
        return None
    try:
        return Perception(int(values["step"]), [from_record(record) for record in values["records"]])
    except KeyError as error:
        raise UserError(f"{path}: the key {error} is missing; remove the file to measure again") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: not a measured perception ({error}); remove the file to measure again") from None


def _load_controls(path: AnyPath, step: int | None) -> dict[str, dict[str, Image.Image]]:
    values = _read_object(path / controls.FILE)
    try:
        if not values or step not in (None, values["step"]):
            return {}
        named = {str(name): [str(sample) for sample in samples] for name, samples in values["images"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path / controls.FILE}: not of controls ({error}); remove the file to measure again"
        ) from None
    return {
        name: {sample: _load_image(path / controls.image_file(name, sample)) for sample in samples}
        for name, samples in named.items()
    }


def _load_sample(path: AnyPath) -> Sample:
    record = _read_object(path)
    try:
        first, second = record["turns"]
        return Sample(
            path=path,
            prompt=str(record["prompt"]),
            index=int(record["index"]),
            seed=int(record["seed"]),
            checkpoint=str(record["checkpoint"]),
            step=int(record["step"]),
            scene=check_text(record["scene"], f"{path}: scene"),
            turns=(_load_turn(path.parent, first), _load_turn(path.parent, second)),
        )
    except KeyError as error:
        raise UserError(f"{path}: the key {error} is missing") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path}: not a two-turn trajectory ({error})") from None


def _load_turn(folder: AnyPath, record: dict[str, Any]) -> Turn:
    return Turn(str(record["thinking"]), _load_image(folder / record["image"]), bool(record["complete"]))


def _load_image(path: AnyPath) -> Image.Image:
    if not path.exists():
        raise UserError(f"{path}: this image is named by the run, but the file does not exist")
    content = _readable(path, lambda file: file.read_bytes())
    try:
        return Image.open(io.BytesIO(content)).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a readable image ({error})") from None

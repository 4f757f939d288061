"""Reads a run folder: its config, the metrics of its stages and its held-out samples."""

import dataclasses
import io
import json
import pathlib
from typing import Any

from PIL import Image

from irg_jax.core.errors import UserError
from irg_jax.training import metrics


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

    path: pathlib.Path
    prompt: str
    index: int
    seed: int
    checkpoint: str
    step: int
    scene: str
    turns: tuple[Turn, Turn]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Attributes:
      path: the folder.
      config: `config.json` as saved: `stages` by name, or a single stage.
      info: `run.json`: command, commit, started, seconds by phase.
      stages: training curves, in the order of the stages' names.
      samples: in the order of their folders.
    """

    path: pathlib.Path
    config: dict[str, Any]
    info: dict[str, Any]
    stages: list[Stage]
    samples: list[Sample]

    @property
    def initial_target(self) -> str:
        """Which image the first turn was trained to generate, "draft" or "good"; "" where the config does not say."""
        targets = (_section(stage, "data").get("initial_target") for stage in self._stage_configs)
        return next((target for target in targets if isinstance(target, str)), "")

    @property
    def from_scratch(self) -> bool:
        """Whether the config says that every stage starts from random weights or from a stage of this run."""
        starts = [stage.get("init_from") for stage in self._stage_configs]
        return bool(starts) and all(start == "" or str(start).startswith("{workdir}/") for start in starts)

    @property
    def _stage_configs(self) -> list[dict[str, Any]]:
        if "stages" not in self.config:
            return [self.config]
        stages = _section(self.config, "stages")
        return [_section(stages, name) for name in stages]


def load_run(path: pathlib.Path) -> Run:
    """Reads a run folder; what is missing stays empty, what is broken is a `UserError` that names the file."""
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; give the --workdir of a run")
    run = Run(
        path=path,
        config=_read_object(path / "config.json"),
        info=_read_object(path / "run.json"),
        stages=_load_stages(path),
        samples=[_load_sample(file) for file in sorted(path.glob("samples/*/trajectory.json"))],
    )
    if not run.stages and not run.samples:
        raise UserError(f"{path}: no {metrics.METRICS_FILE} and no samples; train or sample into this folder first")
    return run


def _load_stages(path: pathlib.Path) -> list[Stage]:
    files = sorted(path.glob(f"*/{metrics.METRICS_FILE}"))
    single = path / metrics.METRICS_FILE
    named = [("train", single)] * single.exists() + [(file.parent.name, file) for file in files]
    stages = [Stage(name, metrics.read_metrics(file)[1]) for name, file in named]
    return [stage for stage in stages if stage.rows]


def _read_object(path: pathlib.Path) -> dict[str, Any]:
    """The JSON object of a file; empty where there is no such file."""
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds a {type(value).__name__}, not a JSON object")
    return value


def _load_sample(path: pathlib.Path) -> Sample:
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
            scene=record["scene"],
            turns=(_load_turn(path.parent, first), _load_turn(path.parent, second)),
        )
    except KeyError as error:
        raise UserError(f"{path}: the key {error} is missing") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: not a two-turn trajectory ({error})") from None


def _load_turn(folder: pathlib.Path, record: dict[str, Any]) -> Turn:
    return Turn(str(record["thinking"]), _load_image(folder / record["image"]), bool(record["complete"]))


def _load_image(path: pathlib.Path) -> Image.Image:
    try:
        return Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    except FileNotFoundError:
        raise UserError(f"{path}: trajectory.json names this image, but the file does not exist") from None
    except (OSError, SyntaxError) as error:
        raise UserError(f"{path}: not a readable image ({error})") from None


def _section(config: dict[str, Any], key: str) -> dict[str, Any]:
    # Configs of other versions and of other programs make a report too.
    value = config.get(key)
    return value if isinstance(value, dict) else {}

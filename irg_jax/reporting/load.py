"""Reads a run folder: its config, the metrics of its stages and its held-out samples."""

import dataclasses
import io
import json
import pathlib
from typing import Any

from PIL import Image

from irg_jax.errors import UserError
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
    """One thought and the picture painted after it; `complete` is False where the thought ran out of tokens."""

    thinking: str
    picture: Image.Image
    complete: bool


@dataclasses.dataclass(frozen=True)
class Sample:
    """One held-out prompt and what the model made of it; `scene` is empty where nothing can check the pictures."""

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
    """All that a run folder holds; `info` is `run.json` (command, commit, started, seconds by phase)."""

    path: pathlib.Path
    config: dict[str, Any]
    info: dict[str, Any]
    stages: list[Stage]
    samples: list[Sample]

    @property
    def initial_target(self) -> str:
        """Which picture the first turn was trained to paint, "draft" or "good"; "" where the config does not say."""
        return _find_initial_target(self.config)


def load_run(path: pathlib.Path) -> Run:
    """Reads a run folder; what is missing stays empty, what is broken is a `UserError` that names the file."""
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; give the work folder of a run")
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
        value = json.loads(path.read_text())
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
    return Turn(str(record["thinking"]), _load_picture(folder / record["image"]), bool(record["complete"]))


def _load_picture(path: pathlib.Path) -> Image.Image:
    try:
        return Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    except FileNotFoundError:
        raise UserError(f"{path}: the trajectory names this picture, but it is not there") from None
    except (OSError, SyntaxError) as error:
        raise UserError(f"{path}: not a picture that can be read ({error})") from None


def _find_initial_target(config: Any) -> str:
    if isinstance(config, list):
        parts = config
    elif isinstance(config, dict):
        data = config.get("data")
        if isinstance(data, dict) and isinstance(data.get("initial_target"), str):
            return data["initial_target"]
        parts = list(config.values())
    else:
        return ""
    # A config of several stages holds one `data` a stage, in order; the first that names the target speaks.
    return next(filter(None, map(_find_initial_target, parts)), "")

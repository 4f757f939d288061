"""What the record of a run says about it: where its weights come from, on what it was trained, what was sampled."""

from typing import Any

from irg_jax.reporting.load import Run, section

_UNKNOWN = "the config does not say"


def weights_of(run: Run) -> str:
    """Where each stage's weights come from, as plain text."""
    return _by_stage(run, {name: _start(config, run) for name, config in run.stage_configs.items()})


def data_of(run: Run) -> str:
    """What each stage was trained on, as plain text."""
    return _by_stage(run, {name: _data(section(config, "data")) for name, config in run.stage_configs.items()})


def evaluation_of(scores: dict[str, Any]) -> str:
    """What was sampled and scored, from the content of scores.json, as plain text."""
    if not scores["samples"]:
        return "not yet: the run has no samples"
    steps = f"the checkpoint of step {', '.join(map(str, scores['steps']))}"
    count = f"{scores['samples']:,} {'sample' if scores['samples'] == 1 else 'samples'}"
    if not scores["scored"]:
        return f"{count} of {steps}, none of them scored"
    scored = "scored" if scores["scored"] == scores["samples"] else f"{scores['scored']:,} of them scored"
    return f"{count} of {steps}, {scored}"


def is_held_out(run: Run, scores: dict[str, Any]) -> bool:
    """Whether no combination of objects in the scored prompts can have been in this run's training data.

    It holds where every stage was trained on the shapes world and every scored scene is of its other split; the split
    of a combination is the same for all seeds and sizes of that world.
    """
    stages = [section(config, "data") for config in run.stage_configs.values()]
    return bool(stages) and all(map(_is_shapes_world, stages)) and 0 < scores["scored"] == scores["held_out"]


def _by_stage(run: Run, texts: dict[str, str]) -> str:
    if not texts:
        return _UNKNOWN
    if "stages" not in run.config or len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{name}: {text}" for name, text in texts.items())


def _start(config: dict[str, Any], run: Run) -> str:
    start = config.get("init_from")
    if not isinstance(start, str):
        return _UNKNOWN
    if not start:
        return "trained from scratch"
    inside = start.removeprefix("{workdir}/")
    is_stage = inside != start and inside in run.stage_configs
    source = f"{inside} of this run" if is_stage else f"{start}, which is not a part of this run"
    lora = config.get("lora")
    if isinstance(lora, dict):
        return f"LoRA of rank {lora.get('rank', '?')} beside the fixed weights of {source}"
    return f"from the EMA weights of {source}"


def _data(data: dict[str, Any]) -> str:
    if _is_shapes_world(data):
        return "the split train of the shapes world"
    sources = data.get("sources")
    if not isinstance(sources, dict) or not sources:
        return _UNKNOWN
    return ", ".join(f"{source.get('dir')} (format {source.get('format')})" for source in sources.values())


def _is_shapes_world(data: dict[str, Any]) -> bool:
    # A section ``world`` builds the data set, or refuses another one; without it any trajectories may be in the folder.
    sources = data.get("sources")
    return isinstance(sources, dict) and bool(sources) and all(source.get("world") for source in sources.values())

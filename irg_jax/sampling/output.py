"""Writes a sampled trajectory to disk."""

import json
from pathlib import Path

from irg_jax.data.images import encode_png
from irg_jax.sampling.sampler import Origin, ReasoningOutput


def write(folder: Path, result: ReasoningOutput, origin: Origin, scene: str = "") -> None:
    """Writes ``turnN.png`` and ``thinkingN.txt`` of each turn, and ``trajectory.json`` last.

    Args:
      folder: made if missing.
      result: the trajectory.
      origin: where the weights came from.
      scene: the scene that the prompt describes, as JSON, where it is known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    turns = []
    for number, turn in enumerate(result.turns, start=1):
        name = f"turn{number}.png"
        (folder / name).write_bytes(encode_png(turn.image))
        (folder / f"thinking{number}.txt").write_bytes(turn.thinking.encode("utf-8"))
        turns.append({"thinking": turn.thinking, "image": name, "complete": turn.complete})
    record = {
        "prompt": result.prompt,
        "seed": result.seed,
        "index": result.index,
        "checkpoint": origin.checkpoint,
        "step": origin.step,
        "scene": scene,
        "turns": turns,
    }
    (folder / "trajectory.json").write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")

"""Writes a sampled trajectory to disk."""

from pathlib import Path

from irg_jax.core.small_files import write_bytes, write_json, write_text
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
        write_bytes(folder / name, encode_png(turn.image))
        write_text(folder / f"thinking{number}.txt", turn.thinking)
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
    write_json(folder / "trajectory.json", record)

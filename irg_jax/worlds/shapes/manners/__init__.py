"""Scenes and prompts in the manners of five benchmarks: GenEval, WISE, TIIF-Bench, GenAI-Bench and OneIG-Bench."""

from types import ModuleType

import numpy as np

from irg_jax.worlds.shapes.manners import genai_bench, geneval, oneig, tiif, wise
from irg_jax.worlds.shapes.scene import MANNERS, Scene

__all__ = ["MANNERS", "draw_scene", "kinds_of", "write_prompt"]

_MODULES: dict[str, ModuleType] = {
    "geneval": geneval,
    "wise": wise,
    "tiif": tiif,
    "genai_bench": genai_bench,
    "oneig": oneig,
}


def kinds_of(manner: str) -> tuple[str, ...]:
    """What the prompts of a manner, one of ``MANNERS``, are divided by, such as GenEval's six kinds."""
    kinds: tuple[str, ...] = _MODULES[manner].KINDS
    return kinds


def draw_scene(rng: np.random.Generator, manner: str, kind_index: int, size: int, split: str) -> Scene:
    """A random scene.

    Args:
      rng: decides everything that the other arguments leave open.
      manner: one of ``MANNERS``.
      kind_index: any number from 0 on; the kinds of the manner alternate with it.
      size: side of the canvas in pixels, a multiple of 16 from 32 up.
      split: one of ``draw.SPLITS``. The two share no combination of objects, no word and, in WISE, no prompt of a fact.
    """
    kinds = kinds_of(manner)
    scene: Scene = _MODULES[manner].draw(rng, kinds[kind_index % len(kinds)], size, split)
    return scene


def write_prompt(scene: Scene, rng: np.random.Generator) -> str:
    """One of the prompts of a scene that ``draw_scene`` has drawn, at random."""
    prompts = geneval.wordings(scene) if scene.manner == "geneval" else scene.prompts
    return prompts[rng.integers(len(prompts))]

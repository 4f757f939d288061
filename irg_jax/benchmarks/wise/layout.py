"""Where WISE wants the images: ``FOLDER/PROMPT_ID.png``, without leading zeros (PKU-YuanGroup/WISE@eb51174)."""

from collections.abc import Callable
from pathlib import Path

from irg_jax.benchmarks.benchmark import FoundImages, Item, PromptSet
from irg_jax.benchmarks.image_files import write_once
from irg_jax.benchmarks.places import find_in_places


def write_layout(prompts: PromptSet, image: Callable[[Item, int], bytes], folder: Path, *, model: str) -> None:
    """Writes the PNGs as they are; the name of the model is no part of this layout.

    Raises:
      UserError: a file cannot be written, or another one of that name is there.
    """
    for item in prompts.items:
        write_once(_place(folder, item), image(item, 0))


def find_images(prompts: PromptSet, folder: Path, *, model: str) -> FoundImages:
    """Looks for one image of each prompt. Folders called ``Results…`` are left alone: the official scripts make them.

    Raises:
      UserError: the folder cannot be read.
    """
    places = {(item.key, 0): [_place(folder, item)] for item in prompts.items}
    found = find_in_places(places, [folder], lambda path: _explain(path, {item.key for item in prompts.items}))
    problems = [p for p in found.problems if not (p.kind == "extra" and Path(p.where).name.startswith("Results"))]
    return FoundImages(found.images, tuple(problems))


def _place(folder: Path, item: Item) -> Path:
    return folder / f"{item.key}.png"


def _explain(path: Path, keys: set[str]) -> str:
    if path.stem in keys:
        return f"the official scorer only looks for {path.stem}.png; convert it to a PNG of that name"
    if path.stem.lstrip("0") in keys:
        return f"the official scorer looks for {path.stem.lstrip('0')}.png, without leading zeros; rename it"
    return "it is no image of these prompts; remove it, or give the prompts of its version"

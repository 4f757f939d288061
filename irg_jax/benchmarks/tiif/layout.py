"""Where TIIF-Bench wants the images: ``FOLDER/TYPE/MODEL/LENGTH_description/LINE.png``.

Lines count from 0; PNG, JPEG and WebP are read (A113N-W3I/TIIF-Bench@3aae750).
"""

from collections.abc import Callable
from pathlib import Path

from irg_jax.benchmarks.benchmark import FoundImages, Item, PromptSet
from irg_jax.benchmarks.image_files import write_once
from irg_jax.benchmarks.places import check_model_name, find_in_places

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def write_layout(prompts: PromptSet, image: Callable[[Item, int], bytes], folder: Path, *, model: str) -> None:
    """Writes the PNGs as they are.

    Raises:
      UserError: a file cannot be written or another one is there, or the name of the model cannot be one.
    """
    check_model_name(model)
    for item in prompts.items:
        place = _folder(folder, item, model)
        write_once(place / f"{_line(item)}.png", image(item, 0))


def find_images(prompts: PromptSet, folder: Path, *, model: str, turn: int | None = None) -> FoundImages:
    """Looks for one image of each item; folders of other models and of other types are left alone.

    Args:
      prompts: whose images are looked for.
      folder: the official layout.
      model: which model's.
      turn: reads ``turn1_LINE.png``, as IRG names the images of its turns in one folder; other turns are left alone.

    Raises:
      UserError: a folder cannot be read, or the name of the model cannot be one.
    """
    check_model_name(model)
    prefix = "" if turn is None else f"turn{turn}_"
    places = {
        (item.key, 0): [_folder(folder, item, model) / f"{prefix}{_line(item)}{suffix}" for suffix in _SUFFIXES]
        for item in prompts.items
    }
    folders = dict.fromkeys(candidates[0].parent for candidates in places.values())
    found = find_in_places(places, folders, _explain)
    others = [p for p in found.problems if p.kind == "extra" and _is_other_turn(Path(p.where).name, turn)]
    return FoundImages(found.images, tuple(p for p in found.problems if p not in others))


def _folder(folder: Path, item: Item, model: str) -> Path:
    attribute, length, _ = item.key.split("/")
    return folder / attribute / model / f"{length}_description"


def _line(item: Item) -> str:
    return item.key.rpartition("/")[2]


def _is_other_turn(name: str, turn: int | None) -> bool:
    return turn is not None and name.startswith("turn") and not name.startswith(f"turn{turn}_")


def _explain(path: Path) -> str:
    if path.name.startswith("turn"):
        return "it is the image of a turn; copy those of one turn into a layout of their own, as LINE.png"
    return "it is no image of these prompts (LINE.png, lines from 0); remove it, or give the prompts of its version"

"""Where GenAI-Bench wants the images: ``FOLDER/MODEL/00000.jpeg`` (linzhiqiu/t2v_metrics@6ecb74f)."""

import io
from collections.abc import Callable
from pathlib import Path

from irg_jax.benchmarks.benchmark import FoundImages, Item, PromptSet
from irg_jax.benchmarks.image_files import write_once
from irg_jax.benchmarks.places import check_model_name, find_in_places
from irg_jax.data import images

JPEG_QUALITY = 95


def write_layout(prompts: PromptSet, image: Callable[[Item, int], bytes], folder: Path, *, model: str) -> None:
    """Writes JPEGs of quality 95: the official scorer takes no other format.

    The official script saves with Pillow's default, 75; a scorer may see that difference.

    Raises:
      UserError: a file cannot be written or another one is there, the model has no such name, or an image is damaged.
    """
    place = folder / check_model_name(model)
    for item in prompts.items:
        write_once(place / f"{item.key}.jpeg", _to_jpeg(image(item, 0), item.key))


def find_images(prompts: PromptSet, folder: Path, *, model: str) -> FoundImages:
    """Looks for one image of each prompt, also of those that are never scored.

    Raises:
      UserError: the folder cannot be read, or the name of the model cannot be one.
    """
    root = folder / check_model_name(model)
    places = {(item.key, 0): [root / f"{item.key}.jpeg"] for item in prompts.items}
    return find_in_places(places, [root], lambda path: _explain(path, {item.key for item in prompts.items}))


def _to_jpeg(png: bytes, key: str) -> bytes:
    buffer = io.BytesIO()
    images.decode(png, key).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _explain(path: Path, keys: set[str]) -> str:
    if path.stem in keys:
        return f"the official scorer only looks for {path.stem}.jpeg; convert it to a JPEG of that name"
    return "it is no image of these prompts (five digits and .jpeg); remove it, or give the prompts of its version"

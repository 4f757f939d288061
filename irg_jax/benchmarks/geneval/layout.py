"""GenEval's folders: ``00012/metadata.jsonl`` with the line of the prompt file, and ``00012/samples/0003.png``.

The official scorer (djghosh13/geneval@af4902f) takes whatever folders are there, each with the metadata that lies in
it: it notices neither missing images nor those of another prompt file. Here both are named.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

from irg_jax.benchmarks.benchmark import FoundImages, Item, Place, Problem, PromptSet
from irg_jax.benchmarks.image_files import entries, unreadable, write_once
from irg_jax.core.small_files import read_text

_IN_FOLDER = ("metadata.jsonl", "samples", "grid.png")


def write_layout(prompts: PromptSet, image: Callable[[Item, int], bytes], folder: Path, *, model: str) -> None:
    """Writes a folder for each prompt. What is there already with the same bytes is left as it is.

    Args:
      prompts: the items.
      image: gives the PNG of an item and a sample.
      folder: of this run and turn; ``00000`` and the others are made in it.
      model: not part of GenEval's layout.

    Raises:
      UserError: an image of another run is there, or a file cannot be written.
    """
    for item in prompts.items:
        write_once(folder / item.key / "metadata.jsonl", json.dumps(item.entry).encode())
        for sample in range(item.samples):
            write_once(folder / item.key / "samples" / f"{sample:04d}.png", image(item, sample))


def find_images(prompts: PromptSet, folder: Path, *, model: str) -> FoundImages:
    """Looks at every folder and decodes every image.

    Names are numbers with any number of leading zeros, as for the official scorer: ``0000.png`` and ``00000.png`` are
    the same sample, and a problem where both are there: then neither is found.

    Problems are, beside those of images, folders whose ``metadata.jsonl`` is not the line of this prompt file: their
    images are those of another prompt, and none of them is found. The problem is a ``missing`` one of each image.
    """
    found: dict[Place, Callable[[], bytes]] = {}
    problems: list[Problem] = []
    folders: dict[int, Path] = {}
    double: set[int] = set()
    for path in entries(folder):
        # Digits of other scripts are digits for str.isdigit.
        number = int(path.name) if path.is_dir() and re.fullmatch(r"[0-9]+", path.name) else None
        if number is None or number >= len(prompts.items):
            problems.append(Problem("extra", str(path), "is no folder of a prompt; remove it"))
        elif number in folders:
            problems.append(Problem("duplicate", str(path), f"is the prompt of {folders[number]}; keep one of them"))
            double.add(number)
        else:
            folders[number] = path
    for number, item in enumerate(prompts.items):
        if number in double:
            continue
        place = folders.get(number, folder / item.key)
        other = _other_prompt(item, place) if number in folders else ""
        samples = {} if other else _samples(item, place, problems)
        for sample in range(item.samples):
            files = samples.get(sample, [])
            file = files[0] if files else place / "samples" / f"{sample:04d}.png"
            if len(files) > 1:
                names = ", ".join(path.name for path in files)
                problems.append(Problem("duplicate", str(file), f"{names} are one image; keep one of them"))
            elif not files:
                problems.append(
                    Problem("missing", str(file), other or f"image {sample} of prompt {item.key} is not there")
                )
            elif problem := unreadable(file):
                problems.append(problem)
            else:
                found[item.key, sample] = file.read_bytes
    return FoundImages(found, tuple(problems))


def _other_prompt(item: Item, place: Path) -> str:
    """Why the images in a folder are not those of this prompt; empty where they are."""
    file = place / "metadata.jsonl"
    try:
        entry = json.loads(read_text(file))
    except FileNotFoundError:
        return f"{file} is missing, so nobody knows whose images these are; write the layout again"
    except (OSError, ValueError) as error:
        return f"{file} cannot be read ({error}); write the layout again"
    if entry != item.entry:
        prompt = entry.get("prompt") if isinstance(entry, dict) else entry
        return f"{file} says {prompt!r:.60}, the prompt file {item.prompt!r:.60}; use the prompt file of these images"
    return ""


def _samples(item: Item, place: Path, problems: list[Problem]) -> dict[int, list[Path]]:
    """The files of the samples of a prompt by number; what else lies there becomes a problem."""
    samples: dict[int, list[Path]] = {}
    problems += [
        Problem("extra", str(path), "is not part of the layout; remove it")
        for path in entries(place)
        if path.name not in _IN_FOLDER
    ]
    for path in entries(place / "samples"):
        match = re.fullmatch(r"([0-9]+)\.png", path.name)
        number = int(match[1]) if match and path.is_file() else None
        if number is None or number >= item.samples:
            reason = f"is none of the {item.samples} images of prompt {item.key}; remove it"
            problems.append(Problem("extra", str(path), reason))
        else:
            samples.setdefault(number, []).append(path)
    return samples

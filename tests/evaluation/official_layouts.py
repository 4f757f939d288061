"""A strict reader of the official layouts, written from the official repositories alone.

It shares nothing with ``irg_jax.benchmarks``: what both misread the same way would be a coincidence. Where an official
scorer accepts several names (any number of leading zeros, any extension), this reader wants the one that the official
generation code writes. The sources:

    GenEval      djghosh13/geneval@af4902f
    WISE         PKU-YuanGroup/WISE@eb51174
    TIIF-Bench   A113N-W3I/TIIF-Bench@3aae750
    GenAI-Bench  linzhiqiu/t2v_metrics@6ecb74f
    OneIG-Bench  OneIG-Bench/OneIG-Benchmark@41b4983

Each function takes the official prompts and a folder, and gives the image of each (prompt, number). It raises a
``LayoutError`` for whatever is missing, of another form, or too much.
"""

import csv
import json
import pathlib
from collections.abc import Collection

import PIL.Image

Images = dict[tuple[str, int], PIL.Image.Image]

_ONEIG_FOLDERS = {
    "Anime_Stylization": "anime",
    "Portrait": "human",
    "General_Object": "object",
    "Text_Rendering": "text",
    "Knowledge_Reasoning": "reasoning",
}


class LayoutError(AssertionError):
    """The layout is not the official one."""


def geneval(prompts: pathlib.Path, folder: pathlib.Path, model: str) -> Images:
    """``00000/metadata.jsonl``, the line of the prompt file, and ``00000/samples/0000.png`` to ``0003.png``."""
    lines = prompts.read_text("utf-8").splitlines()
    names = [f"{number:05d}" for number in range(len(lines))]
    samples = [f"samples/{sample:04d}.png" for sample in range(4)]
    _exactly(folder, [f"{name}/{file}" for name in names for file in ("metadata.jsonl", *samples)])
    found = {}
    for name, line in zip(names, lines, strict=True):
        written = (folder / name / "metadata.jsonl").read_text("utf-8")
        if len(written.splitlines()) != 1 or _ordered(written) != _ordered(line):
            raise LayoutError(f"{name}/metadata.jsonl: {written!r} is not the line {line!r}")
        for sample, file in enumerate(samples):
            found[json.loads(line)["prompt"], sample] = _image(folder / name / file, "PNG")
    return found


def wise(prompts: pathlib.Path, folder: pathlib.Path, model: str) -> Images:
    """``1.png`` to ``1000.png`` without leading zeros, all in one folder."""
    entries = [entry for file in sorted(prompts.glob("*.json")) for entry in json.loads(file.read_text("utf-8"))]
    _exactly(folder, [f"{entry['prompt_id']:d}.png" for entry in entries])
    return {(entry["Prompt"], 0): _image(folder / f"{entry['prompt_id']:d}.png", "PNG") for entry in entries}


def tiif(prompts: pathlib.Path, folder: pathlib.Path, model: str) -> Images:
    """``TYPE/MODEL/short_description/0.png`` and ``TYPE/MODEL/long_description/0.png``, lines from 0."""
    places = {}
    for file in sorted(prompts.glob("*.jsonl")):
        for number, line in enumerate(file.read_text("utf-8").splitlines()):
            entry = json.loads(line)
            for length in ("short_description", "long_description"):
                places[entry[length], 0] = f"{entry['type']}/{model}/{length}/{number}.png"
    _exactly(folder, places.values())
    return {place: _image(folder / name, "PNG") for place, name in places.items()}


def genai_bench(prompts: pathlib.Path, folder: pathlib.Path, model: str) -> Images:
    """``MODEL/00000.jpeg``, also for prompts without a skill."""
    entries = json.loads((prompts / "genai_image.json").read_text("utf-8"))
    _exactly(folder, [f"{model}/{key}.jpeg" for key in entries])
    return {(entry["prompt"], 0): _image(folder / model / f"{key}.jpeg", "JPEG") for key, entry in entries.items()}


def oneig(prompts: pathlib.Path, folder: pathlib.Path, model: str) -> Images:
    """``anime/MODEL/000.webp``: one file for each prompt, a grid of two columns and two rows, filled row by row."""
    with prompts.open(encoding="utf-8", newline="") as file:
        places = {
            row["prompt_en"]: f"{_ONEIG_FOLDERS[row['category']]}/{model}/{row['id']}.webp"
            for row in csv.DictReader(file)
        }
    _exactly(folder, places.values())
    found = {}
    for prompt, name in places.items():
        grid = _image(folder / name, "WEBP")
        width, height = grid.width // 2, grid.height // 2
        if (2 * width, 2 * height) != grid.size:
            raise LayoutError(f"{name}: {grid.size} cannot be cut into 2 x 2 cells")
        for number, (left, top) in enumerate([(0, 0), (width, 0), (0, height), (width, height)]):
            cell = grid.crop((left, top, left + width, top + height))
            if cell.getbbox() is None:
                raise LayoutError(f"{name}: cell {number} is black, and would be dropped")
            found[prompt, number] = cell
    return found


READERS = {"geneval": geneval, "wise": wise, "tiif": tiif, "genai_bench": genai_bench, "oneig": oneig}


def _exactly(folder: pathlib.Path, names: Collection[str]) -> None:
    """These files, the folders that they are in, and nothing else, not even a hidden file."""
    wanted = set(names)
    if len(wanted) != len(names):
        raise LayoutError("two images have one name")
    folders = {parent.as_posix() for name in wanted for parent in pathlib.PurePosixPath(name).parents} - {"."}
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    if missing := sorted((wanted | folders) - there.keys()):
        raise LayoutError(f"missing: {', '.join(missing)}")
    if extra := sorted(there.keys() - wanted - folders):
        raise LayoutError(f"extra: {', '.join(extra)}")
    for name, path in there.items():
        if path.is_symlink() or path.is_file() != (name in wanted):
            raise LayoutError(f"{name}: is no plain file or folder")


def _image(path: pathlib.Path, form: str) -> PIL.Image.Image:
    with PIL.Image.open(path) as image:
        if image.format != form or image.mode != "RGB" or getattr(image, "n_frames", 1) != 1:
            raise LayoutError(f"{path.name}: is {image.format} in {image.mode}, not {form} in RGB")
        image.load()
        return image.copy()


def _ordered(line: str) -> list[tuple[str, object]]:
    """The entries of an object in their order, also of those in it."""
    return json.loads(line, object_pairs_hook=list)

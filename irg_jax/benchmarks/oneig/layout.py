"""OneIG-Bench's layout: ``anime/MODEL/000.webp``, one file for each prompt, its four images in a grid of 2 x 2.

The official scorer (OneIG-Bench/OneIG-Benchmark@41b4983) takes the file whose name begins with the id, cuts it into
cells, drops those that are black (0, 0, 0) all over, and saves the others as JPEG before it scores them.
"""

import io
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import PIL.Image

from irg_jax.benchmarks.benchmark import FoundImages, Item, Place, Problem, PromptSet
from irg_jax.benchmarks.image_files import entries, write_once
from irg_jax.benchmarks.oneig.prompts import CATEGORIES
from irg_jax.benchmarks.places import check_model_name
from irg_jax.core.errors import UserError
from irg_jax.data import images

COLUMNS, ROWS = 2, 2
JPEG_QUALITY = 75

# Cells that are as long as this times their height, or the other way round, are images of another grid.
_LONGEST_CELL = 2

Size = tuple[int, int]


def write_layout(prompts: PromptSet, image: Callable[[Item, int], bytes], folder: Path, *, model: str) -> None:
    """Writes the grid of each prompt as lossy WebP, as the official inference code does; its cells go row by row.

    Args:
      prompts: the items.
      image: gives the PNG of an item and a sample.
      folder: that the official scripts get as ``--image_dirname``; ``anime`` and the others are made in it.
      model: the name of the folder in each of them.

    Raises:
      UserError: the images of an item differ in size, a grid of another run is there, a file cannot be written, or the
        name of the model cannot be one.
    """
    check_model_name(model)
    for item in prompts.items:
        cells = [images.decode(image(item, sample), f"{item.key} sample {sample}") for sample in range(item.samples)]
        sizes = {cell.size for cell in cells}
        if len(sizes) > 1:
            raise UserError(f"{item.key}: its images have the sizes {sorted(sizes)}; a grid needs images of one size")
        width, height = cells[0].size
        grid = PIL.Image.new("RGB", (COLUMNS * width, ROWS * height))
        for sample, cell in enumerate(cells):
            grid.paste(cell, (sample % COLUMNS * width, sample // COLUMNS * height))
        file = io.BytesIO()
        grid.save(file, "WEBP")
        write_once(_place(item, folder, model), file.getvalue())


def find_images(prompts: PromptSet, folder: Path, *, model: str) -> FoundImages:
    """Looks at every grid; an image is given as the official scorer sees it, a JPEG of quality 75.

    A file of any extension whose name begins with the id is the grid of a prompt, and a problem where there are more.
    It is a ``wrong grid`` where it cannot be cut into 2 x 2 equal cells, where the cells would be twice as long as they
    are wide, or where its size is not that of most grids, as for a single image. A black cell is ``unreadable``.
    """
    files, problems = _find_files(prompts, folder, check_model_name(model))
    looks = {key: _look(path) for key, path in files.items()}
    common = Counter(look.size for look in looks.values() if look.size != (0, 0)).most_common(1)
    found: dict[Place, Callable[[], bytes]] = {}
    for item in prompts.items:
        if item.key not in files:
            continue
        path, look = files[item.key], looks[item.key]
        if fault := look.fault or _wrong_size(look.size, common[0][0]):
            problems.append(Problem("unreadable" if look.fault else "wrong grid", str(path), fault))
            continue
        for sample in range(item.samples):
            if sample in look.black:
                reason = f"cell {sample} is black: counts as failed at the official scorer; make the image again"
                problems.append(Problem("unreadable", f"{path}: cell {sample}", reason))
            else:
                found[item.key, sample] = _reader(path, sample)
    return FoundImages(found, tuple(problems))


def cut(grid: PIL.Image.Image, sample: int) -> PIL.Image.Image:
    """A cell of a grid, counted row by row."""
    width, height = grid.width // COLUMNS, grid.height // ROWS
    left, top = sample % COLUMNS * width, sample // COLUMNS * height
    return grid.crop((left, top, left + width, top + height))


def is_black(cell: PIL.Image.Image) -> bool:
    """Whether every pixel of an RGB image is (0, 0, 0)."""
    return cell.getbbox() is None


class _Look(NamedTuple):
    """Size in pixels, (0, 0) where the file cannot be read; black cells; and why the file cannot be read."""

    size: Size
    black: frozenset[int]
    fault: str


def _look(path: Path) -> _Look:
    try:
        grid = images.decode(path.read_bytes(), path.name)
    except (OSError, UserError) as error:
        return _Look((0, 0), frozenset(), f"{str(error).partition(';')[0]}; make the images again")
    return _Look(grid.size, frozenset(s for s in range(COLUMNS * ROWS) if is_black(cut(grid, s))), "")


def _wrong_size(size: Size, common: Size) -> str:
    width, height = size
    if width % COLUMNS or height % ROWS:
        return f"{width} x {height} pixels cannot be cut into {COLUMNS} x {ROWS} equal cells; write the grid again"
    cell = width // COLUMNS, height // ROWS
    if max(cell) >= _LONGEST_CELL * min(cell):
        return f"{COLUMNS} x {ROWS} cells would be {cell[0]} x {cell[1]} pixels; write it as {COLUMNS} x {ROWS} images"
    if size != common:
        return (
            f"is {width} x {height} pixels, but most grids are {common[0]} x {common[1]}; write it as "
            f"{COLUMNS} x {ROWS} images of the same size"
        )
    return ""


def _reader(path: Path, sample: int) -> Callable[[], bytes]:
    def read() -> bytes:
        file = io.BytesIO()
        cut(images.decode(path.read_bytes(), path.name), sample).save(file, "JPEG", quality=JPEG_QUALITY)
        return file.getvalue()

    return read


def _find_files(prompts: PromptSet, folder: Path, model: str) -> tuple[dict[str, Path], list[Problem]]:
    """The file of each item that has one; missing, extra and duplicate files are problems."""
    problems: list[Problem] = []
    known = {item.key for item in prompts.items}
    by_key: dict[str, list[Path]] = {}
    for category in CATEGORIES.values():
        for path in entries(folder / category / model):
            match = re.match(r"[0-9]{3}", path.name)
            key = f"{category}/{match[0]}" if match else ""
            if key in known and path.is_file():
                by_key.setdefault(key, []).append(path)
            else:
                problems.append(Problem("extra", str(path), "is the grid of no prompt; remove it"))
    files = {key: paths[0] for key, paths in by_key.items() if len(paths) == 1}
    for item in prompts.items:
        paths = by_key.get(item.key, [])
        if not paths:
            problems.append(Problem("missing", str(_place(item, folder, model)), "is not there; make the images"))
        for path in paths[1:]:
            reason = (
                f"begins with the same id as {paths[0].name}, and the official scorer takes neither; keep one of them"
            )
            problems.append(Problem("duplicate", str(path), reason))
    return files, problems


def _place(item: Item, folder: Path, model: str) -> Path:
    return folder / item.category / model / f"{item.entry['id']}.webp"

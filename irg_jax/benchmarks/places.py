"""The images of a layout in which each image has one place, a file, or one of several."""

import concurrent.futures
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from irg_jax.benchmarks.benchmark import FoundImages, Place, Problem
from irg_jax.benchmarks.image_files import entries, read_image, unreadable
from irg_jax.core.errors import UserError


def find_in_places(
    places: Mapping[Place, Sequence[Path]], folders: Iterable[Path], explain: Callable[[Path], str]
) -> FoundImages:
    """Looks at each place and decodes what is there; whatever else lies in the folders is a problem.

    Args:
      places: the files that may be the image of a (key, sample); the first one is named where none is there.
      folders: in which nothing else should lie; hidden files may. A folder that is missing is empty.
      explain: says what to do with a file or folder that is in no place.
    """
    there: dict[Place, Path] = {}
    problems: list[Problem] = []
    present = {path for folder in folders for path in entries(folder)}
    for place, candidates in places.items():
        found = [path for path in candidates if path in present and path.is_file()]
        if len(found) == 1:
            there[place] = found[0]
        elif found:
            names = ", ".join(path.name for path in found)
            problems.append(Problem("duplicate", str(found[0]), f"{names} are one image; keep one of them"))
        else:
            problems.append(Problem("missing", str(candidates[0]), "there is no such file; generate it"))
    expected = {path for candidates in places.values() for path in candidates}
    for path in sorted(present):
        if path not in expected or not path.is_file():
            problems.append(Problem("extra", str(path), explain(path)))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for place, problem in zip(list(there), pool.map(unreadable, there.values()), strict=True):
            if problem is not None:
                problems.append(problem)
                del there[place]
    return FoundImages({place: functools.partial(read_image, path) for place, path in there.items()}, tuple(problems))


def check_model_name(model: str) -> str:
    """The name itself, which becomes a folder; ``a/b`` becomes two. Raises UserError for one that leaves the folder."""
    if not model or model != model.strip("/") or any(part in ("", ".", "..") for part in model.split("/")):
        raise UserError(f"--model {model!r}: cannot be a folder; give a name such as irg or org/irg")
    return model

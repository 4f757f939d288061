"""The prompts of WISE: JSON lists of objects with Prompt, Explanation, Category, Subcategory and prompt_id.

The legacy version and WISE_Verified both have the ids 1 to 1000, with other prompts behind two thirds of them and other
ranges of the categories from 401 on (PKU-YuanGroup/WISE@eb51174).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from irg_jax.benchmarks.benchmark import Item, PromptSet
from irg_jax.benchmarks.files import digest_of_files, digest_of_values, read_json, text_of
from irg_jax.core.errors import UserError

NAME = "wise"
LEGACY, VERIFIED, CUSTOM = "legacy", "verified", "custom"
CATEGORIES = ("CULTURE", "TIME", "SPACE", "BIOLOGY", "PHYSICS", "CHEMISTRY")

_OFFICIAL_ITEMS = 1000
_LAST_IDS = {LEGACY: (400, 567, 700, 800, 900, 1000), VERIFIED: (400, 520, 640, 760, 880, 1000)}
_FILES = {
    LEGACY: ("cultural_common_sense.json", "spatio-temporal_reasoning.json", "natural_science.json"),
    VERIFIED: (
        "cultural_common_sense_verified.json",
        "spatio-temporal_reasoning_verified.json",
        "natural_science_verified.json",
    ),
}
_MERGED = "merge.json"  # the same entries as in the three files of WISE_Verified
_NAMES = {
    "Cultural knowledge": "CULTURE",
    "time": "TIME",
    "Space": "SPACE",
    "Biology": "BIOLOGY",
    "Physical Knowledge": "PHYSICS",
    "Chemistry": "CHEMISTRY",
}
_CONTENTS = {
    "e75c69b50babb3fe562144c5a1dad1dec2272036d71b5d9e2cd0e46312910d85": LEGACY,
    "787345a78d680240beb8671e632cc6f68223be45c661d0eab9193d0d2f772d76": VERIFIED,
}


def category(version: str, prompt_id: int) -> str:
    """The category of an id in ``legacy`` or ``verified``. Raises UserError for an id that is not 1 to 1000."""
    for name, last in zip(CATEGORIES, _LAST_IDS[version], strict=True):
        if 1 <= prompt_id <= last:
            return name
    raise UserError(f"prompt_id {prompt_id}: WISE has the ids 1 to {_OFFICIAL_ITEMS}; remove it")


def read_prompts(path: Path) -> PromptSet:
    """Reads a folder with the three files of a version, a folder with merge.json, or one JSON file.

    The version is known by the contents (ids, prompts and explanations), however they are spread over files. Prompts
    that are those of neither are ``custom``, with categories from their entries. Keys are the ids, as texts.

    Raises:
      UserError: a file that cannot be read or is no such list, an entry without one of the five fields, two entries
        with one id, or an official id with the category of the other version.
    """
    files = _find(path)
    entries: dict[int, tuple[str, dict[str, Any]]] = {}
    for file in files:
        for where, entry in _entries(file):
            number = _id(entry, where)
            if number in entries:
                raise UserError(f"{where}: prompt_id {number} is that of {entries[number][0]}; keep one of the two")
            entries[number] = where, entry
    version = _CONTENTS.get(_contents(entry for _, entry in entries.values()), CUSTOM)
    items = [
        Item(str(number), text_of(entry, "Prompt", where), _category(version, number, entry, where), 1, entry)
        for number, (where, entry) in sorted(entries.items())
    ]
    return PromptSet(NAME, version, tuple(items), digest_of_files(files), _OFFICIAL_ITEMS)


def _find(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    for names in (*_FILES.values(), (_MERGED,)):
        there = [path / name for name in names if (path / name).is_file()]
        if len(there) == len(names):
            return there
        if there:
            absent = ", ".join(name for name in names if not (path / name).is_file())
            raise UserError(
                f"--prompts {path}: has {there[0].name}, but not {absent}; put the files of a version together"
            )
    raise UserError(
        f"--prompts {path}: has neither {', '.join(_FILES[LEGACY])} nor {_MERGED}; give the folder of WISE's data"
    )


def _entries(file: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    values = read_json(file)
    if not isinstance(values, list) or not values:
        raise UserError(f"{file}: is not a list of prompts; use the official file")
    for number, entry in enumerate(values):
        if not isinstance(entry, dict):
            raise UserError(f"{file}[{number}] is {entry!r:.60}, not an object; use the official file")
        yield f"{file}[{number}]", entry


def _id(entry: Mapping[str, Any], where: str) -> int:
    for name in ("Prompt", "Explanation", "Category", "Subcategory"):
        text_of(entry, name, where)
    number = entry.get("prompt_id")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise UserError(f"{where}: prompt_id is {number!r:.60}, not a number from 1 on; use the official file")
    return number


def _contents(entries: Iterable[Mapping[str, Any]]) -> str:
    told = sorted([entry["prompt_id"], entry["Prompt"], entry["Explanation"]] for entry in entries)
    return digest_of_values(told)


def _category(version: str, number: int, entry: Mapping[str, Any], where: str) -> str:
    found = _NAMES.get(entry["Category"])
    if found is None:
        raise UserError(f"{where}: Category is {entry['Category']!r:.60}; it has to be one of {', '.join(_NAMES)}")
    if version != CUSTOM and found != category(version, number):
        raise UserError(
            f"{where}: Category is {entry['Category']!r}, but {version} has {category(version, number)} there"
        )
    return found

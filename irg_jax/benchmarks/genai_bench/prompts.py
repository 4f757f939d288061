"""The prompts of GenAI-Bench, ``genai_image.json``, and their skills, ``genai_skills.json`` beside it.

The first is an object from ids, ``00000`` to ``01599``, to objects with ``id`` and ``prompt``; the second is one from
skills to lists of ids as numbers. Seven prompts have no skill: their images are made, but never scored
(linzhiqiu/t2v_metrics@6ecb74f).
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from irg_jax.benchmarks.benchmark import Item, PromptSet
from irg_jax.benchmarks.files import digest_of_files, digest_of_values, read_json, text_of
from irg_jax.core.errors import UserError

NAME = "genai_bench"
BASIC = ("attribute", "scene", "spatial relation", "action relation", "part relation")
ADVANCED = ("counting", "comparison", "differentiation", "negation", "universal")
SKILLS: Mapping[str, tuple[str, ...]] = {"basic": BASIC, "advanced": ADVANCED}
UNTAGGED = "untagged"
OFFICIAL, CUSTOM = "1600", "custom"
SCORED_ITEMS = 1593

_OFFICIAL_ITEMS = 1600
# SHA-256 of the prompts and skills in the official files, whatever their order and what else is in them.
_CONTENT = "0a1440a94278568c4338ad767b246f1cd163ee89adc59a05c29b8938c0c56383"
_PROMPTS_FILE, _SKILLS_FILE = "genai_image.json", "genai_skills.json"


def read_prompts(path: Path) -> PromptSet:
    """Reads ``genai_image.json``, or the folder that it is in.

    A category has the level of a prompt and its skills, such as ``basic: attribute, scene``; that of a prompt without
    skills is ``untagged``. One advanced prompt also has a basic skill. The version is ``1600`` where all prompts and
    skills are the official ones, else ``custom``.

    Raises:
      UserError: a file cannot be read or is no such object; an id is not five digits, or has no prompt; a skill is
        unknown or names an id that is not there; a prompt has a level without a skill, or the other way round.
    """
    file = path / _PROMPTS_FILE if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"--prompts {file}: there is no such file; give {_PROMPTS_FILE} or its folder")
    skills_file = file.parent / _SKILLS_FILE
    if not skills_file.is_file():
        raise UserError(f"--prompts {file}: {_SKILLS_FILE} is not beside it; copy the official one there")
    entries = _read_entries(file)
    levels = _read_skills(skills_file, entries)
    items = [
        Item(key, text_of(entry, "prompt", f"{file}: {key}"), _category(levels[key], f"{skills_file}: {key}"), 1, entry)
        for key, entry in sorted(entries.items())
    ]
    version = OFFICIAL if _digest(items) == _CONTENT else CUSTOM
    return PromptSet(NAME, version, tuple(items), digest_of_files([file, skills_file]), _OFFICIAL_ITEMS)


def key_of(number: int) -> str:
    """The id of a number: five digits."""
    return f"{number:05d}"


def is_scored(item: Item) -> bool:
    """Whether the image of an item counts: seven are made, but have no skill."""
    return item.category != UNTAGGED


@functools.cache
def tags_of(category: str) -> tuple[str, ...]:
    """The level of a category and its skills: ``basic: attribute, scene`` is basic, attribute and scene.

    Raises:
      UserError: it is no category of GenAI-Bench.
    """
    level, _, skills = category.partition(": ")
    named = tuple(skills.split(", ")) if skills else ()
    if level == UNTAGGED and not named:
        return ()
    if level not in SKILLS or not named or not set(named) <= {*BASIC, *ADVANCED}:
        raise UserError(f"category {category!r:.60}: is none of GenAI-Bench's, such as 'basic: attribute, scene'")
    return (level, *named)


def _read_entries(file: Path) -> dict[str, dict[str, Any]]:
    values = read_json(file)
    if not isinstance(values, dict) or not values:
        raise UserError(f"{file}: is not an object from ids to prompts; use the official file")
    for key, entry in values.items():
        if len(key) != 5 or not (key.isascii() and key.isdigit()):
            raise UserError(f"{file}: the id {key!r:.60} is not five digits; use the official file")
        if not isinstance(entry, dict) or entry.get("id") != key:
            raise UserError(f"{file}: {key} is {entry!r:.60}, not an object with that id; use the official file")
    return values


def _read_skills(file: Path, entries: Mapping[str, Any]) -> dict[str, list[str]]:
    """The levels and skills of each id, in the order of the tables."""
    values = read_json(file)
    if not isinstance(values, dict):
        raise UserError(f"{file}: is not an object from skills to ids; use the official file")
    names = [name for level, skills in SKILLS.items() for name in (level, *skills)]
    if wrong := sorted(set(names) ^ set(values)):
        state = "is missing" if wrong[0] in names else "is none of GenAI-Bench's skills"
        raise UserError(f"{file}: {wrong[0]!r:.60} {state}; use the official file")
    found: dict[str, list[str]] = {key: [] for key in entries}
    for name in names:
        if not isinstance(values[name], list):
            raise UserError(f"{file}: {name} is {values[name]!r:.60}, not a list of ids; use the official file")
        for number in values[name]:
            key = key_of(number) if isinstance(number, int) else repr(number)
            if key not in found:
                raise UserError(
                    f"{file}: {name} has the id {key:.60}, which has no prompt; use the files of one version"
                )
            if name in found[key]:
                raise UserError(f"{file}: {name} has the id {key} twice; remove one")
            found[key].append(name)
    return found


def _digest(items: Sequence[Item]) -> str:
    tagged: dict[str, list[int]] = {name: [] for level, skills in SKILLS.items() for name in (level, *skills)}
    for item in items:
        for tag in tags_of(item.category):
            tagged[tag].append(int(item.key))
    told = [{item.key: item.prompt for item in items}, tagged]
    return digest_of_values(told)


def _category(tags: list[str], where: str) -> str:
    if not tags:
        return UNTAGGED
    levels = [tag for tag in tags if tag in SKILLS]
    if len(levels) != 1 or len(tags) == 1:
        raise UserError(f"{where}: has {', '.join(tags)}, not one level and some skills; use the official file")
    return f"{levels[0]}: {', '.join(tag for tag in tags if tag not in SKILLS)}"

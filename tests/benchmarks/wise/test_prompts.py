"""WISE's files: both official versions, a custom one, and every fault of a file."""

import json

import pytest

from irg_jax.benchmarks import wise
from irg_jax.benchmarks.wise.prompts import category
from irg_jax.core.errors import UserError
from tests.benchmarks import official


def entry(number, category="Space", **changes):
    made = {"Prompt": f"thing {number}", "Explanation": "a thing", "Category": category, "Subcategory": "x"}
    return made | {"prompt_id": number} | changes


def write(tmp_path, *entries):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(list(entries)))
    return path


@pytest.mark.parametrize(
    ("path", "version", "last_time"),
    [("wise/legacy", "legacy", 567), ("wise/verified", "verified", 520), ("wise/verified/merge.json", "verified", 520)],
)
def test_the_official_versions(path, version, last_time):
    prompts = wise.read_prompts(official.path(path))
    assert (prompts.version, prompts.images, prompts.official_items) == (version, 1000, 1000)
    assert [item.key for item in prompts.items] == [str(number) for number in range(1, 1001)]
    assert [item.key for item in prompts.items if item.category == "TIME"][-1] == str(last_time)


def test_a_legacy_folder_with_a_file_of_the_other_version_is_neither(tmp_path):
    for name in ("spatio-temporal_reasoning.json", "natural_science.json"):
        (tmp_path / name).write_bytes(official.path(f"wise/legacy/{name}").read_bytes())
    verified = official.path("wise/verified/cultural_common_sense_verified.json").read_bytes()
    (tmp_path / "cultural_common_sense.json").write_bytes(verified)
    assert wise.read_prompts(tmp_path).version == "custom"


def test_own_prompts_are_a_custom_version(tmp_path):
    prompts = wise.read_prompts(write(tmp_path, entry(7), entry(2, "time")))
    assert (prompts.benchmark, prompts.version, prompts.official_items) == ("wise", "custom", 1000)
    assert [(item.key, item.prompt, item.category, item.samples) for item in prompts.items] == [
        ("2", "thing 2", "TIME", 1),
        ("7", "thing 7", "SPACE", 1),
    ]
    assert prompts.items[0].entry["Explanation"] == "a thing"


@pytest.mark.parametrize(
    ("version", "firsts"),
    [("legacy", (1, 401, 568, 701, 801, 901)), ("verified", (1, 401, 521, 641, 761, 881))],
)
def test_categories_are_ranges_of_ids(version, firsts):
    names = ("CULTURE", "TIME", "SPACE", "BIOLOGY", "PHYSICS", "CHEMISTRY")
    assert tuple(category(version, first) for first in firsts) == names
    assert tuple(category(version, after - 1) for after in (*firsts[1:], 1001)) == names
    for number in (0, 1001):
        with pytest.raises(UserError, match="has the ids 1 to 1000"):
            category(version, number)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "is not a list of prompts"),
        (["x"], r"\[0\] is 'x', not an object"),
        ([entry(1), entry(1)], r"json\[1\]: prompt_id 1 is that of .*json\[0\]"),
        ([entry("1")], "prompt_id is '1', not a number"),
        ([entry(True)], "prompt_id is True, not a number"),
        ([entry(0)], "prompt_id is 0, not a number"),
        ([entry(1, Prompt=" ")], "Prompt is empty"),
        ([entry(1, Explanation=3)], "Explanation is 3, not a text"),
        ([{"prompt": "a cat"}], "has no 'Prompt', only 'prompt'"),
        ([entry(1, "Cooking")], "Category is 'Cooking'; it has to be one of Cultural knowledge"),
    ],
)
def test_faults_of_entries(tmp_path, entries, message):
    with pytest.raises(UserError, match=message):
        wise.read_prompts(write(tmp_path, *entries))


def test_faults_of_files(tmp_path):
    with pytest.raises(UserError, match="has neither cultural_common_sense.json, .* nor merge.json"):
        wise.read_prompts(tmp_path)
    (tmp_path / "natural_science.json").write_text("[1")
    with pytest.raises(UserError, match="has natural_science.json, but not cultural_common_sense.json, spatio"):
        wise.read_prompts(tmp_path)
    with pytest.raises(UserError, match="natural_science.json is not valid JSON"):
        wise.read_prompts(tmp_path / "natural_science.json")

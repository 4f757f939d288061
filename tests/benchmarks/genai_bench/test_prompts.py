"""GenAI-Bench's prompts and skills: 1,600 images, of which 1,593 are scored; every fault of a file."""

from collections import Counter

import pytest

from irg_jax.benchmarks import genai_bench
from irg_jax.benchmarks.genai_bench.prompts import SCORED_ITEMS, is_scored, tags_of
from irg_jax.core.errors import UserError
from tests.benchmarks import official
from tests.benchmarks.genai_bench.prompts import entries, read, skills, write


def test_the_official_files():
    prompts = genai_bench.read_prompts(official.path("genai_bench"))
    assert (prompts.version, prompts.images, prompts.official_items) == ("1600", 1600, 1600)
    unscored = [int(item.key) for item in prompts.items if not is_scored(item)]
    assert unscored == [719, 721, 730, 733, 739, 743, 951]
    assert prompts.images - len(unscored) == SCORED_ITEMS == 1593
    counts = Counter(tag for item in prompts.items for tag in tags_of(item.category))
    assert counts == {name: len(ids) for name, ids in official.load("genai_bench/genai_skills.json").items()}


def test_one_other_prompt_is_another_version(tmp_path):
    given = official.load("genai_bench/genai_image.json")
    given["00007"]["prompt"] += " at night"
    write(tmp_path, given, official.load("genai_bench/genai_skills.json"))
    assert genai_bench.read_prompts(tmp_path).version == "custom"


def test_categories_have_the_level_and_the_skills(tmp_path):
    prompts = read(tmp_path)
    assert (prompts.benchmark, prompts.version, prompts.official_items) == ("genai_bench", "custom", 1600)
    assert {item.key: item.category for item in prompts.items} == {
        "00000": "basic: attribute, scene",
        "00001": "basic: scene",
        "00002": "advanced: counting",
        "00003": "advanced: attribute, counting, negation",
        "00004": "untagged",
    }
    assert tags_of("basic: attribute, scene") == ("basic", "attribute", "scene") and tags_of("untagged") == ()
    assert prompts.items[0].prompt == "thing 00000"
    assert genai_bench.read_prompts(tmp_path / "genai_image.json") == prompts


@pytest.mark.parametrize("category", ["", "basic", "basic: cats", "hard: scene", "untagged: scene"])
def test_what_is_no_category(category):
    with pytest.raises(UserError, match="is none of GenAI-Bench's"):
        tags_of(category)


@pytest.mark.parametrize(
    ("prompts", "skills_of", "message"),
    [
        ([], None, "is not an object from ids to prompts"),
        ({"1": {}}, None, "the id '1' is not five digits"),
        (entries() | {"00005": {"id": "5"}}, None, "00005 is {'id': '5'}, not an object with that id"),
        (entries() | {"00005": {"id": "00005"}}, None, "00005: has no 'prompt'"),
        (None, [], "is not an object from skills to ids"),
        (None, skills() | {"cats": []}, "'cats' is none of GenAI-Bench's skills"),
        (None, {"basic": []}, "'action relation' is missing"),
        (None, skills() | {"scene": [7]}, "scene has the id 00007, which has no prompt"),
        (None, skills() | {"scene": ["0"]}, "scene has the id '0', which has no prompt"),
        (None, skills() | {"scene": [0, 0]}, "scene has the id 00000 twice"),
        (None, skills() | {"scene": None}, "scene is None, not a list"),
        (None, skills() | {"basic": [0]}, "00001: has scene, not one level and some skills"),
        (None, skills() | {"advanced": [0, 2, 3]}, "00000: has basic, attribute, scene, advanced, not one level"),
    ],
)
def test_faults_of_files(tmp_path, prompts, skills_of, message):
    with pytest.raises(UserError, match=message):
        genai_bench.read_prompts(write(tmp_path, prompts, skills_of))


def test_missing_files(tmp_path):
    with pytest.raises(UserError, match="genai_image.json: there is no such file"):
        genai_bench.read_prompts(tmp_path)
    write(tmp_path)
    (tmp_path / "genai_skills.json").unlink()
    with pytest.raises(UserError, match="genai_skills.json is not beside it"):
        genai_bench.read_prompts(tmp_path)

"""TIIF-Bench's folders: both lengths in one set, with questions from the folder beside; every fault of a file."""

import pytest

from irg_jax.benchmarks import tiif
from irg_jax.benchmarks.tiif.attributes import ATTRIBUTES, LENGTHS, SIZES
from irg_jax.benchmarks.tiif.prompts import answers_of
from irg_jax.core.errors import UserError
from tests.benchmarks import official
from tests.benchmarks.tiif.prompts import COLOR, prompt, questions, read, write, write_lines


def test_testmini():
    prompts = tiif.read_prompts(official.path("tiif/testmini_prompts"))
    assert (prompts.version, prompts.images, prompts.official_items) == ("testmini", 554, 554)
    asked = [item.entry["yn_question_list"] for item in prompts.items if "/short/" in item.key]
    assert (len(asked), sum(map(len, asked))) == (277, 1446)
    assert {item.category for item in prompts.items} == {
        f"{length}/{name}" for length in LENGTHS for name in ATTRIBUTES
    }


def test_sizes_of_the_official_versions():
    assert len(set(ATTRIBUTES)) == 39
    assert {version: sum(sizes.values()) for version, sizes in SIZES.items()} == {"test": 2538, "testmini": 277}


def test_an_item_has_its_prompt_and_its_questions(tmp_path):
    prompts = read(tmp_path)
    assert (prompts.benchmark, prompts.version, prompts.official_items) == ("tiif", "custom", 554)
    assert [item.key for item in prompts.items] == [
        *("color+2d/short/0", "color+2d/short/1", "color+2d/long/0", "color+2d/long/1"),
        *("text/short/0", "text/short/1", "text/long/0", "text/long/1"),
    ]
    short, long = prompts.items[1], prompts.items[3]
    assert (short.prompt, short.category, short.samples) == ("color+2d 1", "short/color+2d", 1)
    assert (long.prompt, long.category) == ("long 1", "long/color+2d")
    assert short.entry == {**prompt(COLOR, 1), **questions(COLOR, 1)}
    assert answers_of(short) == ["yes", "no"]


def test_the_sizes_make_the_version(tmp_path):
    for version, sizes in SIZES.items():
        (tmp_path / version).mkdir()
        for attribute, size in sizes.items():
            lines = range(size)
            folder = tmp_path / version / "x_prompts"
            write_lines(folder / f"{attribute}_prompts.jsonl", [prompt(attribute, line) for line in lines])
            folder = tmp_path / version / "x_eval_prompts"
            write_lines(folder / f"{attribute}_eval_prompts.jsonl", [questions(attribute, line) for line in lines])
        prompts = tiif.read_prompts(tmp_path / version / "x_prompts")
        assert (prompts.version, len(prompts.items)) == (version, prompts.official_items)


PROMPTS, EVAL = f"my_prompts/{COLOR}_prompts.jsonl", f"my_eval_prompts/{COLOR}_eval_prompts.jsonl"


@pytest.mark.parametrize(
    ("file", "entries", "message"),
    [
        (PROMPTS, [prompt(COLOR, 0)], r"eval_prompts.jsonl: has 2 lines, but color\+2d_prompts.jsonl has 1"),
        (PROMPTS, [prompt("cats", 0), prompt("cats", 1)], "type 'cats' is none of the 39"),
        (PROMPTS, [prompt("text", 0), prompt("text", 1)], r":1: type is 'color\+2d', but .* begins with 'text'"),
        (PROMPTS, [prompt(COLOR, 0), prompt("text", 1)], ":2: type is 'text', but"),
        (PROMPTS, [{"type": COLOR, "short_description": "a"}, prompt(COLOR, 1)], ":1: has no 'long_description'"),
        (EVAL, [questions(COLOR, 0), {"type": COLOR}], ":2: yn_question_list is None, not a list of texts"),
        (EVAL, [questions(COLOR, 0), questions(COLOR, 1) | {"yn_answer_list": ["yes"]}], "2 questions, but 1 answers"),
        (EVAL, [questions(COLOR, 0) | {"yn_answer_list": ["yes", "maybe"]}, questions(COLOR, 1)], "has 'maybe'; an"),
        (EVAL, ["x", "y"], ":1: 'x' is not a JSON object"),
        ("my_eval_prompts/style_eval_prompts.jsonl", [questions("style", 0)], "style.* has no prompts in .*my_prompts"),
        (f"my_prompts/again_{COLOR}_prompts.jsonl", [prompt(COLOR, 0)], "again_color.*_eval_prompts.jsonl: cannot be"),
    ],
)
def test_faults_of_files(tmp_path, file, entries, message):
    folder = write(tmp_path)
    write_lines(tmp_path / file, entries)
    with pytest.raises(UserError, match=message):
        tiif.read_prompts(folder)


def test_a_folder_without_its_other_half(tmp_path):
    folder = write(tmp_path)
    with pytest.raises(UserError, match="is the folder of questions; give my_prompts"):
        tiif.read_prompts(tmp_path / "my_eval_prompts")
    (tmp_path / "my_eval_prompts").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="has no folder my_eval_prompts beside it"):
        tiif.read_prompts(folder)
    with pytest.raises(UserError, match="is no folder"):
        tiif.read_prompts(tmp_path / "none")

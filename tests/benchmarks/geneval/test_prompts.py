"""GenEval's prompt files: the official ones are told apart, others are custom, and every fault has its line."""

import copy

import pytest

from irg_jax.benchmarks import geneval
from irg_jax.core.errors import UserError
from tests.benchmarks import official
from tests.benchmarks.geneval.small import ENTRIES, read_prompts, write_prompts


def test_the_short_file():
    prompts = geneval.read_prompts(official.path("geneval/evaluation_metadata.jsonl"))
    assert (prompts.benchmark, prompts.version, prompts.images) == ("geneval", "short", 553 * 4)
    assert len(prompts.items) == prompts.official_items == 553
    tasks = [item.category for item in prompts.items]
    counts = {task: tasks.count(task) for task in dict.fromkeys(tasks)}
    expected = {"single_object": 80, "two_object": 99, "counting": 80, "colors": 94, "position": 100, "color_attr": 100}
    assert counts == expected
    assert prompts.items[12].key == "00012"


def test_the_same_objects_with_paragraphs_are_the_long_file(tmp_path):
    entries = [
        dict(item.entry) for item in geneval.read_prompts(official.path("geneval/evaluation_metadata.jsonl")).items
    ]
    long = [{**entry, "prompt": f"{entry['prompt']} {'in great detail ' * 5}"} for entry in entries]
    assert geneval.read_prompts(write_prompts(tmp_path / "long.jsonl", long)).version == "long"
    some = [*long[:-1], entries[-1]]
    assert geneval.read_prompts(write_prompts(tmp_path / "mixed.jsonl", some)).version == "custom"
    assert geneval.read_prompts(write_prompts(tmp_path / "part.jsonl", entries[:10])).version == "custom"


def test_the_short_file_may_have_been_written_again(tmp_path):
    path = official.path("geneval/evaluation_metadata.jsonl")
    again = tmp_path / "windows.jsonl"
    again.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert geneval.read_prompts(again).version == "short"
    assert geneval.read_prompts(again).digest != geneval.read_prompts(path).digest


def test_a_custom_file(tmp_path):
    prompts = read_prompts(tmp_path)
    assert prompts.version == "custom" and prompts.official_items == 553
    item = prompts.items[1]
    assert (item.key, item.prompt, item.category, item.samples) == ("00001", "two dogs, please", "counting", 4)
    assert item.entry == ENTRIES[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.pop("tag"), "prompts.jsonl:3: has no tag, include and prompt"),
        (lambda e: e.update(prompt=" "), "prompts.jsonl:3: prompt is empty"),
        (lambda e: e.update(include={}), "prompts.jsonl:3: include is {}"),
        (lambda e: e["include"][0].update({"class": "dragon"}), "include[0] is {'class': 'dragon'"),
        (lambda e: e["include"][0].update(count=0), "include[0]: count is 0"),
        (lambda e: e["include"][1].update(color="beige"), "include[1]: color is 'beige'"),
        (lambda e: e["include"][1].update(position=["above", 1]), "include[1]: position is ['above', 1]"),
        (lambda e: e["include"][1].update(position="above"), "include[1]: position is 'above'"),
    ],
)
def test_a_wrong_line(tmp_path, change, message):
    entries = copy.deepcopy(ENTRIES)
    change(entries[2])
    with pytest.raises(UserError) as caught:
        geneval.read_prompts(write_prompts(tmp_path / "prompts.jsonl", entries))
    assert message in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [("", "contains no prompt"), ("a photo of a cat\n", ":1: not JSON")])
def test_another_file(tmp_path, text, message):
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        geneval.read_prompts(path)

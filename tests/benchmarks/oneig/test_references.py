"""What the metrics compare with, from the official files."""

import json

import pytest

from irg_jax.benchmarks import oneig
from irg_jax.benchmarks.oneig import references
from irg_jax.benchmarks.oneig.references import Check
from irg_jax.core.errors import UserError
from tests.benchmarks import official
from tests.benchmarks.oneig.small import read_prompts, write_table


def test_the_official_files_are_complete():
    prompts = oneig.read_prompts(official.path("oneig/OneIG-Bench.csv"))
    folder = official.path("oneig")
    checks = references.read_checks(references.find_file(folder, "Q_D"))
    assert sum(map(len, checks.values())) == 4176 + 4059 + 2996
    texts = references.read_texts(references.find_file(folder, "text_content.csv"))
    answers = references.read_answers(references.find_file(folder, "gt_answer.json"))
    references.check_complete(prompts, references.ALIGNED, checks, "Q_D")
    references.check_complete(prompts, ["text"], texts, "text_content.csv")
    references.check_complete(prompts, ["reasoning"], answers, "gt_answer.json")
    assert (len(checks), len(texts), len(answers)) == (695, 200, 225)
    styles = references.read_styles(references.find_file(folder, "style.csv"))
    assert len(styles) == 114 and len(set(styles.values())) == 29 and "ukiyo-e" in styles.values()


def test_files_are_also_found_where_the_official_repository_has_them(tmp_path):
    place = tmp_path / "scripts/style"
    place.mkdir(parents=True)
    write_table(place / "style.csv", ("", "id", "class"), [("0", "000", "Pixel art"), ("1", "001", "")])
    assert references.read_styles(references.find_file(tmp_path, "style.csv")) == {"anime/000": "pixel_art"}
    with pytest.raises(UserError, match="Q_D: no such file, nor .*scripts/alignment/Q_D"):
        references.find_file(tmp_path, "Q_D")


def test_questions_are_objects_or_json_in_a_text():
    questions, parents = {"1": "A cat?", "2": "Is it red?"}, {"1": [0], "2": [1]}
    expected = (Check(1, "A cat?", ()), Check(2, "Is it red?", (1,)))
    assert references.checks({"question": questions, "dependency": parents}, "here") == expected
    texts = {"question": json.dumps(questions), "dependency": json.dumps(parents)}
    assert references.checks(texts, "here") == expected


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (None, "here: question is None"),
        ({"question": "{"}, "here: question is not JSON"),
        ({"question": {"2": "A?"}, "dependency": {}}, "numbered from 1 without a gap"),
        ({"question": {"1": "A?"}, "dependency": {"2": [0]}}, "numbered from 1 without a gap"),
        ({"question": {"1": "A?"}, "dependency": {"1": [2]}}, "question 1 is 'A\\?' with parents \\[2\\]"),
        ({"question": {"1": 3}, "dependency": {"1": [0]}}, "question 1 is 3"),
    ],
)
def test_wrong_questions(entry, message):
    with pytest.raises(UserError, match=message):
        references.checks(entry, "here")


def test_prompts_without_a_reference_are_named(tmp_path):
    prompts = read_prompts(tmp_path)
    with pytest.raises(UserError, match="Q_D: has nothing for anime/001, human/000; give the file"):
        references.check_complete(prompts, references.ALIGNED, {"anime/000": ()}, "Q_D")

"""The results of the official scorer: read as they are, if they follow from what was detected."""

import json

import pytest

from irg_jax.benchmarks import geneval
from irg_jax.benchmarks.geneval import detections
from irg_jax.benchmarks.geneval.official_results import read_official_results
from irg_jax.core.errors import UserError

CAT = {"cat": [[0.0, 0.0, 50.0, 50.0, 0.95]]}
CARS = {"car": [[0, 0, 50, 50, 0.9], [60, 0, 80, 50, 0.5]], "bus": [[0, 0, 50, 50, 0.8]]}


def line(item, sample, correct, details, changes=None):
    values = {
        "filename": f"outputs/{item.key}/samples/{sample:04d}.png",
        "tag": item.category,
        "prompt": item.prompt,
        "correct": correct,
        "reason": "" if correct else "a reason",
        "metadata": json.dumps(item.entry),
        "details": json.dumps(details),
    }
    return json.dumps(values | (changes or {})).replace("/", "\\/") + "\n"  # as pandas writes it


def read(tmp_path, prompts, *lines):
    path = tmp_path / "results.jsonl"
    path.write_text("".join(lines))
    return read_official_results(path, prompts)


def test_all_images(tmp_path, prompts):
    lines = [line(prompts.items[0], i, True, CAT) for i in range(4)]
    lines += [line(prompts.items[2], i, i == 1, CARS) for i in range(4)]
    lines += [line(prompts.items[i], j, False, {}) for j in range(4) for i in (3, 1)]
    correct, texts = read(tmp_path, prompts, *lines)
    assert detections.check_places(prompts, texts, tmp_path) == ()
    figures = geneval.summarise(detections.rows(prompts, correct))
    assert figures["single_object"] == 1 and figures["color_attr"] == 0.25
    assert figures["overall"] == pytest.approx(1.25 / 4)


def test_equal_scores_keep_the_order_of_the_file(tmp_path, prompts):
    cups = [[0, 0, 50, 50, 0.9], [0, 900, 50, 950, 0.9]]
    item = prompts.items[3]
    details = {"tie": [[0, 500, 50, 550, 0.9]], "cup": cups}
    assert read(tmp_path, prompts, line(item, 0, True, details))[0] == {("00003", 0): True}


@pytest.mark.parametrize(
    ("number", "correct", "details"),
    [
        (0, True, {}),
        (0, False, CAT),
        (0, True, {"cat": [[0, 0, 9, 9, 0.2]]}),  # with a lower threshold
        (2, True, {"car": CARS["car"]}),
    ],
)
def test_a_decision_that_does_not_follow(tmp_path, prompts, number, correct, details):
    with pytest.raises(UserError, match="does not follow from its details with the default thresholds"):
        read(tmp_path, prompts, line(prompts.items[number], 0, correct, details))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metadata": '{"tag": "colors"}'}, "is of the prompt 'one cat, please', but the prompt file says"),
        ({"filename": "00000.png"}, "filename is '00000.png'"),
        ({"correct": 1}, "correct is 1"),
        ({"details": "{"}, "metadata or details is not JSON"),
        ({"details": '{"cat": [[1, 2]]}'}, "metadata or details is not as GenEval's"),
    ],
)
def test_a_wrong_line(tmp_path, prompts, changes, message):
    with pytest.raises(UserError, match=f"results.jsonl:1: .*{message}"):
        read(tmp_path, prompts, line(prompts.items[0], 0, True, CAT, changes))


def test_an_image_twice_and_another_file(tmp_path, prompts):
    one = line(prompts.items[0], 0, True, CAT)
    with pytest.raises(UserError, match="results.jsonl:2: 00000 sample 0 is there already"):
        read(tmp_path, prompts, one, one)
    with pytest.raises(UserError, match="has no filename, tag, prompt"):
        read(tmp_path, prompts, "{}\n")

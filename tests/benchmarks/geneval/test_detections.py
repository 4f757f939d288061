"""Detections in files: what is written is read again, gaps are named, and rows follow from them."""

import json

import pytest

from irg_jax.benchmarks.geneval import detections
from irg_jax.benchmarks.geneval.decision import Object
from irg_jax.core.errors import UserError

CAT = {"cat": [Object((1, 2, 30.5, 40), 0.9)]}
CARS = {
    "car": [Object((0, 0, 50, 50), 0.9, "red"), Object((60, 0, 80, 50), 0.5)],
    "bus": [Object((0, 0, 50, 50), 0.8, "green")],
}


def seen(prompts, **objects):
    """Detections of all images: the same for each sample, by the number of the prompt, nothing elsewhere."""
    places = {(item.key, sample): item for item in prompts.items for sample in range(item.samples)}
    images = {place: objects.get(f"prompt{int(item.key)}", {}) for place, item in places.items()}
    return detections.Detections("a detector", images, {place: item.prompt for place, item in places.items()})


def write_lines(path, *lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_a_file_is_read_as_it_was_written(tmp_path, prompts):
    written = seen(prompts, prompt0=CAT, prompt2=CARS)
    detections.write_detections(tmp_path / "seen.jsonl", written)
    assert detections.read_detections(tmp_path / "seen.jsonl") == written


def test_rows_of_detections(prompts):
    rows = detections.rows_of_detections(prompts, seen(prompts, prompt0=CAT, prompt2=CARS))
    assert [(row.key, row.sample) for row in rows[:5]] == [*(("00000", i) for i in range(4)), ("00001", 0)]
    assert [row.values for row in rows] == [{"correct": 1.0}] * 4 + [{"correct": 0.0}] * 12
    assert rows[8].category == "color_attr"
    decisions = detections.decide_images(prompts, seen(prompts, prompt2=CARS))
    assert decisions["00002", 0].reasons == ("expected blue bus>=1, found 0 blue; and 1 green",)


def test_a_color_that_the_prompt_asks_for_is_not_there(prompts):
    colourless = {name: [one._replace(color="") for one in ones] for name, ones in CARS.items()}
    with pytest.raises(UserError, match="00002 sample 0: the car at .* has no color"):
        detections.rows_of_detections(prompts, seen(prompts, prompt2=colourless))


def test_missing_and_extra_images_are_named(tmp_path, prompts):
    places = dict(seen(prompts).prompts)
    del places["00001", 2]
    places["00004", 0] = "another"
    found = detections.check_places(prompts, places, tmp_path / "seen.jsonl")
    assert [(one.kind, one.where.partition(": ")[2]) for one in found] == [
        ("missing", "00001 sample 2"),
        ("extra", "00004 sample 0"),
    ]
    assert len(detections.rows(prompts, dict.fromkeys(places, True))) == prompts.images - 1


def test_detections_of_another_prompt_file(tmp_path, prompts):
    places = {**seen(prompts).prompts, ("00003", 0): "a long text"}
    with pytest.raises(UserError, match="00003 sample 0 is of the prompt 'a long text', but the prompt file says"):
        detections.check_places(prompts, places, tmp_path / "seen.jsonl")


HEADER = {"format": detections.FORMAT, "detector": "a detector"}


def image_line(**changes):
    return {"key": "00000", "sample": 0, "prompt": "one cat, please", "objects": []} | changes


def one(**changes):
    return image_line(objects=[{"class": "cat", "score": 0.5, "box": [0, 0, 1, 1]} | changes])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], ":1: is not"),
        ([image_line()], ":1: is not"),
        ([HEADER, "{"], ":2: not JSON"),
        ([HEADER, "[]"], ":2: '\\[\\]' is not a JSON object"),
        ([HEADER, image_line(sample=None)], ":2: key, sample or prompt is missing"),
        ([HEADER, image_line(), "", image_line()], ":4: 00000 sample 0 is there already"),
        ([HEADER, image_line(objects=None)], ":2: objects is None"),
        ([HEADER, one(**{"class": "dragon"})], r":2: objects\[0\] is .*its class must be one of the 80"),
        ([HEADER, one(box=[1, 2, 3])], "box is \\[1, 2, 3\\]"),
        ([HEADER, one(box=[0, 0, 1, float("inf")])], "box is \\[0, 0, 1, inf\\]"),
        ([HEADER, one(score=2)], "score is 2"),
        ([HEADER, one(score=float("nan"))], "score is nan"),
        ([HEADER, one(color="beige")], "color is 'beige'"),
    ],
)
def test_a_wrong_line(tmp_path, lines, message):
    with pytest.raises(UserError, match=message):
        detections.read_detections(write_lines(tmp_path / "seen.jsonl", *lines))

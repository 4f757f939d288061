"""Controls of the second turn: what each one gives the model, and what is recorded."""

import json
import types

import numpy as np
import pytest
from PIL import Image

from irg_jax.data import images
from irg_jax.experiment import controls
from irg_jax.experiment.config import EvaluateConfig
from irg_jax.reporting.build import build_report
from irg_jax.reporting.load import load_run
from irg_jax.worlds.shapes.thinking import NO_FAULT
from irg_jax.worlds.shapes.world import make_trajectory
from tests.reporting.folders import write_sample

NAMES = [
    "another reflection",
    "another picture",
    "turn 3",
    "turn 4",
    "one turn, twice the steps",
    "better of two",
    "image 2 only where faults are named",
]
GOOD = [np.asarray(images.decode(make_trajectory(3, "held_out", i).image2, "")) for i in range(3)]
BLANK = np.full((32, 32, 3), 238, np.uint8)


class Model:
    """A sampler whose image 2 is good where it is given its own image 1 and its own thinking 2, and else blank.

    It finds no fault in any second try.
    """

    def __init__(self):
        self.records = [make_trajectory(3, "held_out", i) for i in range(3)]
        self.improved = []

    def fits(self, prompt, *thinking):
        return True

    def improve(self, prompts, thinking1, pictures, thinking2, *, seed, indices):
        self.improved.append((list(indices), list(thinking2), list(pictures)))
        right = [
            text == self.records[i].thinking2 and (picture == GOOD[i]).all()
            for i, text, picture in zip(indices, thinking2, pictures, strict=True)
        ]
        return np.stack([GOOD[i] if good else BLANK for i, good in zip(indices, right, strict=True)])

    def reflect(self, prompts, thinking1, pictures, *, seed, indices):
        return [(self.records[i].thinking2, True) for i in indices]

    def with_steps(self, factor):
        assert factor == 2
        return self._longer

    def _longer(self, prompts, *, seed, indices, turns, thinking):
        assert (seed, turns, thinking) == (7, 1, [[self.records[i].thinking1 for i in indices]])
        return [types.SimpleNamespace(turns=(types.SimpleNamespace(image=BLANK),)) for _ in prompts]

    def __call__(self, prompts, *, seed, indices, turns):
        assert (seed, turns) == (8, 1)
        turn = types.SimpleNamespace(thinking="<think> again </think>", image=BLANK)
        return [types.SimpleNamespace(turns=(turn,)) for _ in prompts]


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """Measures three samples whose images are all good, with a model in place of a checkpoint's."""
    for index in range(3):
        write_sample(tmp_path, index)

    def run(model, asked=3, step=40):
        stage = types.SimpleNamespace(folder=tmp_path, step=step)
        monkeypatch.setattr(controls, "open_stage", lambda folder, step: stage)
        monkeypatch.setattr(controls.engine, "load_sampler", lambda folder, step: model)
        controls.measure(tmp_path, EvaluateConfig("data", 3, 2, 7, 0, asked), tmp_path)
        return json.loads((tmp_path / controls.FILE).read_text())

    return run


def test_every_control_has_a_picture_of_every_sample(measure, tmp_path):
    values = measure(Model())
    assert (values["step"], values["asked"]) == (40, 3)
    assert values["images"] == {name: ["00000", "00001", "00002"] for name in NAMES}
    run = load_run(tmp_path)
    for name, good in zip(NAMES, (False, False, True, True, False, True, True), strict=True):
        for i, picture in enumerate(run.controls[name].values()):
            np.testing.assert_array_equal(np.asarray(picture), GOOD[i] if good else BLANK)


def test_another_sample_is_one_of_another_prompt(measure):
    model = Model()
    measure(model)
    indices, texts, pictures = model.improved[0]
    assert indices == [0, 1]
    assert texts == [model.records[i].thinking2 for i in (1, 2)]
    assert all((picture == GOOD[i]).all() for i, picture in zip(indices, pictures, strict=True))
    indices, texts, pictures = model.improved[1]
    assert texts == [model.records[i].thinking2 for i in indices]
    assert all((picture == GOOD[i + 1]).all() for i, picture in zip(indices, pictures, strict=True))


def test_image_1_is_kept_only_where_nothing_is_said_to_be_wrong(measure, tmp_path):
    faulty = make_trajectory(3, "held_out", 0).thinking2
    assert "wrong" in faulty and NO_FAULT not in faulty
    right = faulty.replace(faulty[faulty.index(". ", faulty.index("Planned")) : faulty.index("\n")], f". {NO_FAULT}")
    for index, thinking2 in enumerate((faulty, right, "<think> odd </think>")):
        folder = tmp_path / f"samples/{index:05d}"
        Image.fromarray(BLANK).save(folder / "turn1.png")
        record = json.loads((folder / "trajectory.json").read_text())
        record["turns"][1]["thinking"] = thinking2
        (folder / "trajectory.json").write_text(json.dumps(record))
    measure(Model())
    kept = load_run(tmp_path).controls["image 2 only where faults are named"].values()
    assert [bool((np.asarray(picture) == BLANK).all()) for picture in kept] == [False, True, False]


def test_the_report_says_how_far_they_are_from_turn_2(measure, tmp_path):
    measure(Model())
    scores = build_report(tmp_path)
    assert list(scores["controls"]) == NAMES
    for name, share in zip(NAMES, (0, 0, 1, 1, 0, 1, 1), strict=True):
        found = scores["controls"][name]
        assert (found["overall"], found["count"], found["minus_turn2"]["value"]) == (share, 3, share - 1)
    assert scores["change"]["overall"] == {"value": 0, "low": 0, "high": 0}
    page = (tmp_path / "report.html").read_text()
    assert "Controls" in page and "another reflection" in page


def test_nothing_is_sampled_again_for_the_same_checkpoint(measure):
    measure(Model())
    assert measure(None)["asked"] == 3
    with pytest.raises(Exception, match="NoneType"):
        measure(None, asked=2)

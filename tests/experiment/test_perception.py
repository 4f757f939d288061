"""Perception on the data set's weak pictures: what the model is given, what is recorded, and what is measured again."""

import json
import types

import numpy as np
import pytest

from irg_jax.core.config.files import load
from irg_jax.core.config.schema import replaced
from irg_jax.core.errors import ConfigError
from irg_jax.data import images
from irg_jax.data.sources.trajectories import open_source
from irg_jax.experiment import perception, stages
from irg_jax.experiment.config import EvaluateConfig, parse_config
from irg_jax.experiment.held_out import batches
from irg_jax.experiment.run_folder import RunRecord
from irg_jax.reporting.load import load_run
from irg_jax.worlds.shapes import dataset
from irg_jax.worlds.shapes.world import make_trajectory
from tests.reporting.folders import write_sample


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    dataset.build(folder, seed=1, train=6, held_out=12)
    return folder


class Teller:
    """A sampler that answers from the records of the world; those in ``lies`` with the text about the one after."""

    def __init__(self, lies=(), too_long=()):
        self.records = [make_trajectory(1, "held_out", i) for i in range(12)]
        self.lies, self.too_long, self.calls = lies, too_long, []

    def fits(self, prompt, thinking1):
        return (prompt, thinking1) not in [(self.records[i].prompt, self.records[i].thinking1) for i in self.too_long]

    def reflect(self, prompts, thinking1, pictures, *, seed, indices):
        self.calls.append((prompts, thinking1, pictures, seed, list(indices)))
        return [(self.records[i + (i in self.lies)].thinking2, i != 1) for i in indices]


@pytest.fixture
def measure(data, tmp_path, monkeypatch):
    """Measures with a sampler in place of a checkpoint's, and returns what is recorded."""

    def run(sampler, count=5, step=40):
        stage = types.SimpleNamespace(folder=tmp_path, step=step)
        monkeypatch.setattr(perception, "open_stage", lambda folder, step: stage)
        monkeypatch.setattr(perception.engine, "load_sampler", lambda folder, step: sampler)
        perception.measure(tmp_path, EvaluateConfig(str(data), 1, 2, 7, count), tmp_path)
        return json.loads((tmp_path / "perception.json").read_text())

    return run


def test_the_model_is_given_the_first_turn_of_the_records_in_batches_of_one_size(measure, data):
    sampler = Teller()
    measure(sampler)
    records = open_source(data, "held_out")
    assert [call[4] for call in sampler.calls] == [[0, 1], [2, 3], [4, 4]]
    for prompts, thinking1, pictures, seed, indices in sampler.calls:
        some = [records[i] for i in indices]
        assert seed == 7
        assert (prompts, thinking1) == ([r.prompt for r in some], [r.thinking1 for r in some])
        for record, picture in zip(some, pictures, strict=True):
            np.testing.assert_array_equal(picture, np.asarray(images.decode(record.image1, "")))


def test_every_record_is_judged_by_its_own_picture(measure, tmp_path):
    values = measure(Teller(lies=[2]), count=300)
    assert (values["step"], values["asked"], len(values["records"])) == (40, 300, 12)
    assert [record["key"] for record in values["records"]] == [f"held_out/{i:06d}" for i in range(12)]
    assert [record["seen"] for record in values["records"]] == [i != 2 for i in range(12)]
    assert [record["exact"] for record in values["records"]] == [i != 2 for i in range(12)]
    assert [record["complete"] for record in values["records"]] == [i != 1 for i in range(12)]
    assert values["records"][2]["thinking2"] == make_trajectory(1, "held_out", 3).thinking2
    (tmp_path / "metrics.csv").write_text("step,loss\n1,2.0\n")
    readings = load_run(tmp_path).perception.readings
    assert {len(reading.faults) for reading in readings} > {0, 1}
    assert [reading.exact for reading in readings] == [i != 2 for i in range(12)]


def test_it_is_measured_again_for_another_step_or_number_only(measure, tmp_path):
    measure(Teller())
    again = Teller()
    measure(again)
    assert not again.calls
    for count, step in ((5, 80), (4, 80)):
        sampler = Teller()
        assert measure(sampler, count, step)["step"] == step
        assert sampler.calls
    (tmp_path / "perception.json").write_text("{")
    assert len(measure(Teller())["records"]) == 5


def test_records_that_the_model_could_not_have_written_are_left_out(measure, caplog):
    values = measure(Teller(too_long=[1, 3]))
    assert [record["key"][-1] for record in values["records"]] == ["0", "2", "4"]
    assert "perception leaves out 2 of 5 records" in caplog.text
    assert measure(Teller(too_long=range(12)), count=6)["records"] == []


def test_a_negative_number_is_refused():
    with pytest.raises(ConfigError, match="perception: -1 must be at least 0"):
        EvaluateConfig("x", 1, 1, 0, -1)


def test_batches_are_padded_to_one_size():
    assert list(batches([3, 5, 8], 2)) == [([3, 5], [3, 5]), ([8], [8, 8])]
    assert list(batches([3], 4)) == [([3], [3])] and list(batches([], 4)) == []


@pytest.fixture
def evaluated(data, tmp_path, monkeypatch):
    """Evaluates the last stage of an experiment, whose samples are there already, and returns its config."""

    def run(count):
        config = parse_config(load("shapes_quickstart"))
        config = replaced(config, {"evaluate.dir": str(data), "evaluate.prompts": 2, "evaluate.perception": count})
        last = config.stages["stage2"].steps
        monkeypatch.setattr(
            perception, "open_stage", lambda folder, step: types.SimpleNamespace(folder=folder, step=last)
        )
        monkeypatch.setattr(perception.engine, "load_sampler", lambda folder, step: Teller())
        monkeypatch.setattr(stages.held_out, "generate", lambda *arguments: None)
        stages._evaluate(config.evaluate, tmp_path / "stage2", tmp_path, RunRecord(tmp_path))
        return config

    for index in range(2):
        write_sample(tmp_path, index, step=100_000)
    return run


def test_an_experiment_measures_its_last_stage_and_is_finished_then(evaluated, tmp_path):
    config = evaluated(count=3)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert (scores["perception"]["seen"]["correct"], scores["perception"]["seen"]["count"]) == (3, 3)
    assert '<a href="#perception">' in (tmp_path / "report.html").read_text()
    assert "perception" in json.loads((tmp_path / "run.json").read_text())["seconds"]
    assert stages._is_evaluated(tmp_path, config)
    assert stages._is_evaluated(tmp_path, replaced(config, {"evaluate.perception": 0}))
    assert not stages._is_evaluated(tmp_path, replaced(config, {"evaluate.perception": 4}))
    longer = {"stages.stage2.steps": config.stages["stage2"].steps + 1}
    assert not stages._is_evaluated(tmp_path, replaced(config, longer))


def test_an_experiment_that_wants_none_measures_none(evaluated, tmp_path):
    assert stages._is_evaluated(tmp_path, evaluated(count=0))
    assert not (tmp_path / "perception.json").exists()
    assert json.loads((tmp_path / "scores.json").read_text())["perception"] is None

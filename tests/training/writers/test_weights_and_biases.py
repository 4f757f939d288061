"""Weights & Biases, with a stand-in for its package."""

import sys
import types

import numpy as np
import pytest

from irg_jax.core.errors import StorageError, UserError
from irg_jax.training.writers import open_writers


class Run:
    def __init__(self, id):
        self.id, self.logged, self.finished = id, [], False
        self.config, self.metrics = {}, []
        self.config = types.SimpleNamespace(values={}, update=lambda new, **_: self.config.values.update(new))

    def define_metric(self, name, step_metric=None):
        self.metrics.append((name, step_metric))

    def log(self, values):
        self.logged.append(values)

    def finish(self):
        self.finished = True


@pytest.fixture
def wandb(monkeypatch):
    """A module ``wandb`` with the runs that were started."""
    module = types.ModuleType("wandb")
    module.errors = types.SimpleNamespace(
        UsageError=type("UsageError", (Exception,), {}), CommError=type("CommError", (Exception,), {})
    )
    module.Image = lambda image: ("image", image.shape)
    module.started = []

    def init(**options):
        module.started.append((options, Run(options["id"] or f"id{len(module.started)}")))
        return module.started[-1][1]

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_metrics_images_and_texts_arrive_by_step(tmp_path, wandb):
    writers = open_writers(tmp_path, resume_step=None, wandb_project="shapes", run_name="first")
    writers.write_text("device_kind", "TPU v5p")
    writers.write(10, {"loss": 0.5})
    writers.write_images(10, {"a bench": np.zeros((4, 4, 3), np.uint8)})
    writers.close()
    ((options, run),) = wandb.started
    assert (options["project"], options["name"]) == ("shapes", "first")
    assert run.logged == [{"loss": 0.5, "step": 10}, {"a bench": ("image", (4, 4, 3)), "step": 10}]
    assert run.metrics == [("step", None), ("*", "step")], "their own count of steps cannot go back"
    assert run.config.values == {"device_kind": "TPU v5p"} and run.finished
    assert (tmp_path / "metrics.csv").read_text() == "step,loss\n10,0.5\n"


def test_a_resumed_run_goes_on_with_the_same_one(tmp_path, wandb):
    for resume_step in (None, 5):
        open_writers(tmp_path, resume_step=resume_step, wandb_project="shapes").close()
    assert [options["id"] for options, _ in wandb.started] == [None, "id0"]
    assert all(options["resume"] == "allow" for options, _ in wandb.started)


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(
        UserError, match=r"config.log.wandb: 'shapes' needs a package .* pip install 'irg-jax\[wandb\]'"
    ):
        open_writers(tmp_path, resume_step=None, wandb_project="shapes")


@pytest.mark.parametrize(("name", "kind"), [("UsageError", UserError), ("CommError", StorageError)])
def test_a_refusal_and_an_outage_are_told_apart(tmp_path, wandb, name, kind):
    def init(**options):
        raise getattr(wandb.errors, name)("no")

    wandb.init = init
    with pytest.raises(kind, match="config.log.wandb: .*no"):
        open_writers(tmp_path, resume_step=None, wandb_project="shapes")


def test_without_a_project_the_package_is_not_needed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    writers = open_writers(tmp_path / "new" / "run", resume_step=None)
    writers.write(1, {"loss": 1.0})
    writers.close()
    assert {path.name for path in (tmp_path / "new" / "run").iterdir()} == {"metrics.csv", "tensorboard"}


def test_closing_closes_all_writers_also_where_one_fails(tmp_path, wandb):
    writers = open_writers(tmp_path, resume_step=None, wandb_project="shapes")
    writers.write(1, {"loss": 1.0})

    def fail():
        raise StorageError("metrics.csv: cannot be written")

    writers._writers[0].close = fail
    with pytest.raises(StorageError, match="metrics.csv"):
        writers.close()
    assert wandb.started[0][1].finished

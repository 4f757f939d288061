"""What is logged of an interval of steps, and how it is read back."""

import math

import numpy as np
import pytest

from irg_jax.core.chips import mfu
from irg_jax.core.config.files import load
from irg_jax.core.errors import UserError
from irg_jax.training import metrics
from irg_jax.training.config import parse_stage
from irg_jax.training.flops import train_step_flops
from irg_jax.training.metrics import IntervalMean, read_metrics

NAN = math.nan


@pytest.fixture(scope="module")
def stage():
    return parse_stage(load("shapes_stage1"))


def step(**changes):
    """What a training step returns, for two modes."""
    values = {
        "loss": 1.0, "tokens/und": 100, "tokens/gen": 60, "tokens/vit": 20, "pairs": 1000.0,
        "ce_by_mode": np.array([0.5, NAN]), "mse_by_mode": np.array([0.25, NAN]),
    }  # fmt: skip
    return {name: np.asarray(value) for name, value in (values | changes).items()}


def test_scalars_and_seconds_are_means_over_the_interval(stage):
    mean = IntervalMean(stage, ["full", "text"], devices=1)
    mean.add(step(loss=1.0), stall_seconds=0.5, seconds=2.0)
    mean.add(step(loss=4.0, **{"tokens/und": 400}), stall_seconds=0.0, seconds=1.0)
    row = mean.pop()
    assert (row["loss"], row["tokens/und"]) == (2.5, 250)
    assert (row["time/data"], row["time/compute"], row["time/step"]) == (0.25, 1.25, 1.5)
    assert row["tokens_per_s"] == pytest.approx((100 + 60 + 400 + 60) / 3.0)
    rows, budgets = stage.data.batch_size, stage.data.budgets
    assert row["fill/und"] == pytest.approx(250 / (rows * budgets.und))
    assert row["fill/gen"] == pytest.approx(60 / (rows * budgets.gen))


def test_an_interval_forgets_the_one_before(stage):
    mean = IntervalMean(stage, ["full", "text"], devices=1)
    for loss in (1.0, 3.0):
        mean.add(step(loss=loss), 0.0, 1.0)
        assert mean.pop()["loss"] == loss


def test_the_loss_of_a_mode_is_the_mean_over_the_steps_that_had_it(stage):
    mean = IntervalMean(stage, ["full", "text", "never"], devices=1)
    mean.add(step(ce_by_mode=[0.5, NAN, NAN], mse_by_mode=[0.25, NAN, NAN]), 0.0, 1.0)
    mean.add(step(ce_by_mode=[0.0, 2.0, NAN], mse_by_mode=[0.25, NAN, NAN]), 0.0, 1.0)
    row = mean.pop()
    assert (row["loss/full"], row["loss/text"]) == (0.5, 2.0)
    assert "loss/never" not in row


def test_a_skipped_step_does_not_spoil_the_mean(stage):
    mean = IntervalMean(stage, ["full", "text"], devices=1)
    mean.add(step(loss=NAN), 0.0, 1.0)
    mean.add(step(loss=2.0), 0.0, 1.0)
    assert mean.pop()["loss"] == 2.0
    mean.add(step(loss=NAN), 0.0, 1.0)
    assert math.isnan(mean.pop()["loss"])


def test_the_mfu_is_that_of_the_mean_step(stage, monkeypatch):
    monkeypatch.setattr(metrics, "mfu", lambda flops, seconds, kind, devices: mfu(flops, seconds, "TPU v5p", devices))
    mean = IntervalMean(stage, ["full", "text"], devices=4)
    mean.add(step(), 0.0, 1.0)
    mean.add(step(), 0.0, 3.0)
    flops = train_step_flops(stage.model, und=100, gen=60, vit=20, pairs=1000.0)
    assert mean.pop()["mfu"] == pytest.approx(flops / (2.0 * 459e12 * 4))


# --- reading


def test_an_error_names_the_broken_line(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n1,0.5\n2,x\n3,0.5\n")
    with pytest.raises(UserError, match=r"metrics\.csv, line 3"):
        read_metrics(path)
    path.write_text("loss,step\n")
    with pytest.raises(UserError, match="first column"):
        read_metrics(path)


def test_an_incomplete_last_line_is_left_out(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n1,0.5\n2,0.1666")
    assert read_metrics(path) == (["step", "loss"], [{"step": 1, "loss": 0.5}])


def test_parts_beside_the_file_are_read_too(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,loss\n1,0.5\n2,0.25\n")
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "part-00000002-1.csv").write_text("step,ce\n2,3.0\n3,4.0\n")
    columns, rows = read_metrics(tmp_path / "metrics.csv")
    assert columns == ["step", "loss", "ce"]
    assert rows == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25, "ce": 3.0}, {"step": 3, "ce": 4.0}]


def test_a_line_that_is_not_utf_8_is_named(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"step,loss\n1,2.0\n2,\xff\n3,1.0\n")
    with pytest.raises(UserError, match=r"metrics\.csv, line 3: not UTF-8 .*remove that line"):
        read_metrics(path)

"""Steps that are not finite: the run ends, or the step is skipped, and either way the records are named."""

import logging

import numpy as np
import pytest

from irg_jax.core.errors import UserError
from irg_jax.training.hooks.log import StopOnNonFinite
from irg_jax.training.loop import StepReport


def report(step, loss=1.0, grad_norm=1.0):
    return StepReport(step, {"loss": loss, "grad_norm": grad_norm}, seconds=1.0, stall_seconds=0.0)


def records(step):
    return [f"mode:record{step}"]


@pytest.mark.parametrize("values", [dict(loss=np.nan), dict(grad_norm=np.inf)])
def test_a_step_that_is_not_finite_ends_the_run_with_the_records_in_its_batch(values):
    hook = StopOnNonFinite(0, records)
    hook.after_metrics(report(6))
    with pytest.raises(UserError, match="step 7: loss .*nothing was saved.*records in the batch: mode:record7"):
        hook.after_metrics(report(7, **values))


def test_as_many_steps_are_skipped_as_the_config_allows(caplog):
    caplog.set_level(logging.WARNING)
    hook = StopOnNonFinite(2, records)
    for step in (1, 2):
        hook.after_metrics(report(step, loss=np.inf))
    assert "step 2 is skipped (2 of 2): loss inf, grad_norm 1.0; records in the batch: mode:record2" in caplog.text
    with pytest.raises(UserError, match="optim.skip_nonfinite 2 allows no other"):
        hook.after_metrics(report(3, loss=np.nan))

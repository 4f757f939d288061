"""The command whose figures are in docs/data.md runs, at small size."""

import numpy as np

from tests.data import scale


def test_start_planning_and_resume_are_measured(tmp_path):
    np.save(tmp_path / "rows.npy", scale.rows(3000))
    figures = scale.measure(tmp_path / "rows.npy", 64)
    assert figures["planning, rows/CPU s"] > 0
    assert all(0.9 < fill <= 1 for fill in figures["fill"])
    assert figures["state in a checkpoint, bytes"] < 20_000

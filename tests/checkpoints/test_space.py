"""Is there room for three checkpoints?"""

import shutil

import numpy as np
import pytest

from irg_jax.checkpoints.space import require_space
from irg_jax.core.errors import UserError

TREE = {"a": np.zeros(250, np.float32)}  # 1,000 bytes


@pytest.mark.parametrize(("total", "free", "saved"), [(9000, 3000, 0), (9000, 1000, 2), (9000, 1000, 5), (0, 0, 0)])
def test_enough_room(tmp_path, monkeypatch, total, free, saved):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: (total, total - free, free))
    require_space(tmp_path, TREE, saved)


@pytest.mark.parametrize(("free", "saved", "needed"), [(2999, 0, "3e-06"), (1999, 1, "2e-06"), (999, 9, "1e-06")])
def test_too_little_room_is_said_with_the_sizes(tmp_path, monkeypatch, free, saved, needed):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: (9000, 0, free))
    with pytest.raises(UserError, match=f"checkpoints of 1e-06 GB need {needed} GB; free the disk"):
        require_space(tmp_path, TREE, saved)

"""Checkpoints on a bucket, by URL."""

from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.checkpoints.weights import open_stage
from irg_jax.core.storage import as_path
from tests import bucket
from tests.checkpoints.test_manager import abstract, assert_same, make_state, save


def test_checkpoints_are_saved_deleted_and_restored(tmp_path, monkeypatch):
    folder = as_path(bucket.install(monkeypatch, tmp_path)) / "run" / "checkpoints"
    with Checkpointer(folder, keep=1) as checkpoints:
        save(checkpoints, 1)
        save(checkpoints, 2)
    with Checkpointer(folder) as checkpoints:
        assert checkpoints.steps() == [2]
        assert_same(checkpoints.restore(abstract=abstract(make_state(2))), make_state(2))


def test_the_last_stage_is_found(tmp_path, monkeypatch):
    url = bucket.install(monkeypatch, tmp_path)
    for stage in ("stage1", "stage2"):
        with Checkpointer(as_path(url) / stage / "checkpoints") as checkpoints:
            checkpoints.save_weights(make_state()["ema"], {"config": "{}"})
    assert str(open_stage(url).folder) == f"{url}/stage2"

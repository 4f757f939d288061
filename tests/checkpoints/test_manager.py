"""Checkpoints restore exactly, onto any devices; incomplete ones are never read; every error is one clear line."""

import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from irg_jax.checkpoints import manager
from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.core.errors import UserError
from irg_jax.training.optimizer import make_optimizer
from tests import tiny

OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))


def make_state(seed=0, width=8, kind="dict"):
    """A small state with the trees of training: params and EMA of one kind, and their optimizer state."""
    params = nnx.state(nnx.Linear(4, width, rngs=nnx.Rngs(seed)), nnx.Param)
    if kind == "dict":
        params = {"layer": nnx.to_pure_dict(params), "scale": jnp.float32(seed)}
    ema = jax.tree.map(lambda x: x / 2, params)
    opt = OPTIMIZER.update(params, OPTIMIZER.init(params), params)[1]
    return {"params": params, "ema": ema, "opt": opt}


def abstract(state, sharding=None, dtype=None):
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype or x.dtype, sharding=sharding), state)


def save(checkpointer, step, state=None, **kwargs):
    checkpointer.save(step, **(state or make_state(step)), data={"row": step}, meta={}, **kwargs)


def old_checkpoint(directory, state, meta):
    """A checkpoint of step 7 as version 1 of the format had it: no format in ``meta``."""
    items = {name: ocp.args.StandardSave(tree) for name, tree in state.items()}
    items |= {"meta": ocp.args.JsonSave({**meta, "step": 7})}
    options = ocp.CheckpointManagerOptions(step_format_fixed_length=8)
    with ocp.CheckpointManager(pathlib.Path(directory).absolute(), options=options) as checkpoints:
        checkpoints.save(7, args=ocp.args.Composite(**items))


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture
def saved(tmp_path):
    """A folder with the checkpoint of step 1."""
    with Checkpointer(tmp_path / "checkpoints", keep=2) as checkpointer:
        save(checkpointer, 1)
    return tmp_path / "checkpoints"


@pytest.mark.parametrize("kind", ["dict", "nnx.State"])
def test_all_items_are_restored(tmp_path, kind):
    state, meta = make_state(3, kind=kind), {"config": {"optim": {"lr": 1e-3}}, "oversize": {}}
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(30, **state, data={"row": 5}, meta=meta)
    with Checkpointer(tmp_path, read_only=True) as checkpointer:
        assert checkpointer.latest_step() == 30
        added = {"format": manager.FORMAT, "step": 30, "data": {"row": 5}}
        assert checkpointer.restore_meta() == meta | added
        restored = checkpointer.restore(abstract=abstract(state))
    assert_same(restored, state)
    assert isinstance(restored["opt"][1][0], optax.ScaleByAdamState)


def test_only_the_requested_items_are_read(saved):
    shutil.rmtree(saved / "00000001" / "opt")
    with Checkpointer(saved, read_only=True) as checkpointer:
        restored = checkpointer.restore(1, abstract={"ema": abstract(make_state(1)["ema"])})
    assert_same(restored, {"ema": make_state(1)["ema"]})


def test_a_checkpoint_moves_to_other_devices_and_dtypes(tmp_path):
    """Saved from two devices, restored onto eight, and the EMA as bfloat16 for sampling."""
    params = {"w": jnp.arange(64.0).reshape(8, 8)}
    two = NamedSharding(jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,)), PartitionSpec("data"))
    eight = NamedSharding(jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,)), PartitionSpec(None, "data"))
    state = {name: jax.device_put(params, two) for name in manager.TREES}
    with Checkpointer(tmp_path) as checkpointer:
        save(checkpointer, 1, state)
        wanted = {"params": abstract(params, eight), "ema": abstract(params, eight, jnp.bfloat16)}
        restored = checkpointer.restore(abstract=wanted)
    assert restored["params"]["w"].sharding == eight and restored["ema"]["w"].dtype == jnp.bfloat16
    assert_same(restored["params"], params)


@pytest.mark.parametrize("moments_dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_frozen_weights_have_no_moments_and_the_state_is_restored(tmp_path, moments_dtype):
    params, freeze = tiny.weights(), (("blocks.und", 0), ("vit", 5))
    optim = tiny.optim(freeze=freeze, moments_dtype=moments_dtype)
    optimizer = make_optimizer(optim, optax.constant_schedule(1e-3))
    opt = optimizer.update(params, optimizer.init(params), params)[1]
    moments = opt[1].inner_state.mu
    assert not jax.tree.leaves(moments.blocks.und) and jax.tree.leaves(moments.blocks.gen), "the state is masked"
    with Checkpointer(tmp_path) as checkpointer:
        save(checkpointer, 1, {"params": params, "ema": params, "opt": opt})
        restored = checkpointer.restore(abstract={"opt": abstract(opt)})
        unmasked = optax.adamw(1e-3).init(params)
        with pytest.raises(UserError, match="another config: in opt, "):
            checkpointer.restore(abstract={"opt": abstract(unmasked)})
    assert_same(restored["opt"], opt)


def test_the_state_is_copied_before_save_returns(tmp_path):
    """Buffers may be donated while the save is still being written."""
    state = make_state(width=100_000)
    expected = jax.tree.map(np.array, state)
    step = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, **state, data={}, meta={})
        state = step(step(state))
        restored = checkpointer.restore(abstract=abstract(expected))
    assert_same(jax.tree.map(np.array, restored), expected)


def test_the_last_n_checkpoints_are_kept(tmp_path):
    with Checkpointer(tmp_path, keep=2) as checkpointer:
        for step in (10, 20, 30):
            save(checkpointer, step)
        assert checkpointer.steps() == [20, 30]


def test_every_kth_and_the_best_checkpoint_are_kept_too_also_after_a_restart(tmp_path):
    losses = {1: 0.3, 2: 0.9, 3: 0.1, 4: None, 5: float("nan"), 6: 0.5, 7: 0.4, 8: 0.2}
    for steps in (range(1, 5), range(5, 9)):
        with Checkpointer(tmp_path, keep=1, keep_every=6, best="validation/loss") as checkpointer:
            for step in steps:
                known = {} if losses[step] is None else {"validation/loss": losses[step], "validation/ce": 0.0}
                save(checkpointer, step, metrics=known)
    with Checkpointer(tmp_path, read_only=True) as checkpointer:
        assert checkpointer.steps() == [3, 6, 8]


def test_a_step_that_is_already_saved_is_kept(saved):
    with Checkpointer(saved, keep=2) as checkpointer:
        save(checkpointer, 1, make_state(9))
        assert_same(checkpointer.restore(abstract=abstract(make_state(1))), make_state(1))


KILLED_WHILE_SAVING = """
import os, sys
import orbax.checkpoint as ocp
from tests.checkpoints.test_manager import Checkpointer, make_state, save
with Checkpointer(sys.argv[1], keep=2) as checkpointer:
    save(checkpointer, 1)
    checkpointer.wait()
    # By then the arrays are in the temporary folder, which is not renamed yet.
    ocp.StandardCheckpointHandler.finalize = lambda *_: os.kill(os.getpid(), 9)
    save(checkpointer, 2)
"""


def test_an_incomplete_checkpoint_is_never_read(tmp_path):
    root = str(pathlib.Path(__file__).parents[2])
    command = [sys.executable, "-c", KILLED_WHILE_SAVING, str(tmp_path)]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(list(tmp_path.iterdir())) == 2, "the kill left an incomplete folder"

    with Checkpointer(tmp_path, read_only=True) as checkpointer:
        assert checkpointer.steps() == [1]
    with Checkpointer(tmp_path, keep=2) as checkpointer:
        assert checkpointer.latest_step() == 1
        save(checkpointer, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000001", "00000002"]


def test_a_full_disk_is_reported_once_and_earlier_checkpoints_are_kept(saved, monkeypatch, capfd):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    # In the background thread, after save() has returned.
    monkeypatch.setattr(ocp.StandardCheckpointHandler, "finalize", full)
    with pytest.raises(UserError, match="checkpoints: .*earlier checkpoints are intact: No space left on device"):  # noqa: SIM117
        with Checkpointer(saved, keep=1) as checkpointer:
            save(checkpointer, 2)
            save(checkpointer, 3)
    monkeypatch.undo()
    assert capfd.readouterr() == ("", "")
    with Checkpointer(saved, read_only=True) as checkpointer:
        assert_same(checkpointer.restore(1, abstract=abstract(make_state(1))), make_state(1))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_is_really_full_is_reported(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("cannot mount a small disk")
    try:
        noise = {"w": jnp.asarray(np.random.default_rng(0).random(1_000_000))}
        with Checkpointer(disk / "run", keep=1) as checkpointer:
            save(checkpointer, 1)
            save(checkpointer, 2, dict.fromkeys(manager.TREES, noise))
            with pytest.raises(UserError, match="disk/run: .*No space left on device"):
                checkpointer.wait()
        with Checkpointer(disk / "run", read_only=True) as checkpointer:
            assert checkpointer.steps() == [1]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/run: cannot be used for checkpoints: Not a directory"):
        Checkpointer(tmp_path / "file" / "run")


def test_a_checkpoint_of_another_config_is_refused_with_names_and_shapes(saved):
    params = make_state(width=16)["params"] | {"bias2": jnp.zeros(3)}
    del params["scale"]
    with Checkpointer(saved, read_only=True) as checkpointer, pytest.raises(UserError) as error:
        checkpointer.restore(abstract={"params": abstract(params)})
    assert str(error.value) == (
        f"{saved}: the checkpoint of step 1 is of another config: in params, bias2 is absent in the checkpoint, (3,) "
        "here; layer.bias is (8,) in the checkpoint, (16,) here; layer.kernel is (4, 8) in the checkpoint, (4, 16) "
        "here and 1 more"
    )


def test_the_optimizer_state_of_another_config_is_refused_too(saved):
    other = abstract(optax.sgd(1e-3, momentum=0.9).init(make_state()["params"]))
    with (
        Checkpointer(saved, read_only=True) as checkpointer,
        pytest.raises(UserError, match="another config: in opt, "),
    ):
        checkpointer.restore(abstract={"opt": other})


def test_a_restore_without_shardings_is_refused(saved):
    unsharded = jax.eval_shape(make_state)
    with Checkpointer(saved, read_only=True) as checkpointer, pytest.raises(ValueError, match="params has no sharding"):
        checkpointer.restore(abstract={"params": unsharded["params"]})


def test_missing_folders_steps_and_items_are_named(tmp_path, saved):
    with pytest.raises(UserError, match="nowhere: no such checkpoint folder"):
        Checkpointer(tmp_path / "nowhere", read_only=True)
    with Checkpointer(tmp_path / "new") as checkpointer:
        assert checkpointer.latest_step() is None
        with pytest.raises(UserError, match="new: has no complete checkpoint"):
            checkpointer.restore(abstract={})
    with Checkpointer(saved, read_only=True) as checkpointer:
        with pytest.raises(UserError, match="no checkpoint of step 7; there are 1"):
            checkpointer.restore_meta(7)
        shutil.rmtree(saved / "00000001" / "ema")
        with pytest.raises(UserError, match="the checkpoint of step 1 has no ema"):
            checkpointer.restore(abstract={"ema": abstract(make_state()["ema"])})


def test_damaged_files_are_reported_with_folder_and_step(saved):
    for file in (saved / "00000001" / "params").rglob("d/*"):
        file.write_bytes(file.read_bytes()[:10])
    with Checkpointer(saved, read_only=True) as checkpointer:
        with pytest.raises(UserError, match="step 1 cannot be read"):
            checkpointer.restore(abstract={"params": abstract(make_state()["params"])})
        (saved / "00000001" / "meta" / "metadata").write_text(json.dumps({})[:1])
        with pytest.raises(UserError, match="step 1 cannot be read"):
            checkpointer.restore_meta()


def test_a_checkpoint_of_an_earlier_version_is_refused_in_one_line(tmp_path):
    old_checkpoint(tmp_path, make_state(), meta={"config": "{}"})
    with Checkpointer(tmp_path, read_only=True) as checkpointer:
        assert checkpointer.steps() == [7]
        other = {"params": abstract(make_state(width=16)["params"])}
        for restore in (checkpointer.restore_meta, lambda: checkpointer.restore(abstract=other)):
            with pytest.raises(UserError) as error:
                restore()
            assert str(error.value) == (
                f"{tmp_path}: the checkpoint of step 7 was written by another version of irg_jax (format 1, this "
                f"version reads {manager.FORMAT}); use that version, or convert or train again"
            )


# --- what Orbax logs


SLOW_SAVE = "_WAIT_FOR_PREV_SAVE_WARNING_THRESHOLD_SECS"


def test_a_normal_save_and_restore_logs_nothing(tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setattr(ocp.checkpoint_manager, SLOW_SAVE, 1e9)  # a busy machine is no reason to fail
    state = make_state()
    with caplog.at_level("INFO", "absl"):
        with Checkpointer(tmp_path, keep=1) as checkpointer:
            for step in (1, 2):
                save(checkpointer, step, state)
                checkpointer.wait()
        with Checkpointer(tmp_path, keep=1) as checkpointer:
            checkpointer.restore(abstract=abstract(state))
        with Checkpointer(tmp_path, read_only=True) as checkpointer:
            checkpointer.restore(abstract={"ema": abstract(state["ema"], dtype=jnp.bfloat16)})
        with Checkpointer(tmp_path / "weights") as checkpointer:
            checkpointer.save_weights(state["ema"], {})
    assert [record.getMessage() for record in caplog.records] == []
    assert capfd.readouterr() == ("", "")


def test_other_warnings_of_orbax_are_shown(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(ocp.checkpoint_manager, SLOW_SAVE, -1.0)
    with Checkpointer(tmp_path) as checkpointer:
        save(checkpointer, 1)
    assert "consider checkpointing less frequently" in caplog.text

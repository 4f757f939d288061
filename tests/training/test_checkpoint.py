"""What is saved comes back, onto any devices; what is not whole is never read; what goes wrong is one clear line."""

import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from irg_jax.errors import UserError
from irg_jax.training import checkpoint
from irg_jax.training.checkpoint import Checkpointer

OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))


def make_state(seed=0, width=8, kind="dict"):
    """A small state with the trees that training has: params and EMA of one kind, and their optimizer state."""
    params = nnx.state(nnx.Linear(4, width, rngs=nnx.Rngs(seed)), nnx.Param)
    if kind == "dict":
        params = {"layer": nnx.to_pure_dict(params), "scale": jnp.float32(seed)}
    ema = jax.tree.map(lambda x: x / 2, params)
    opt = OPTIMIZER.update(params, OPTIMIZER.init(params), params)[1]
    return {"params": params, "ema": ema, "opt": opt}


def make_iterator(position=0):
    iterator = iter(grain.MapDataset.range(100).shuffle(seed=1).to_iter_dataset())
    for _ in range(position):
        next(iterator)
    return iterator


def abstract(state, sharding=None, dtype=None):
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype or x.dtype, sharding=sharding), state)


def save(checkpointer, step, state=None, **kwargs):
    checkpointer.save(step, **(state or make_state(step)), iterator=make_iterator(step), meta={}, **kwargs)


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
def test_everything_comes_back(tmp_path, kind):
    state, meta = make_state(3, kind=kind), {"config": {"optim": {"lr": 1e-3}}, "data": "fingerprint"}
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(30, **state, iterator=make_iterator(5), meta=meta)
    iterator = make_iterator()
    with Checkpointer(tmp_path, read_only=True) as checkpointer:
        assert checkpointer.latest_step() == 30
        assert checkpointer.restore_meta() == {**meta, "step": 30}
        restored = checkpointer.restore(abstract=abstract(state), iterator=iterator)
    assert_same(restored, state)
    assert isinstance(restored["opt"][1][0], optax.ScaleByAdamState)
    assert next(iterator) == next(make_iterator(5))


def test_only_what_is_asked_for_is_read(saved):
    shutil.rmtree(saved / "00000001" / "opt")
    with Checkpointer(saved, read_only=True) as checkpointer:
        restored = checkpointer.restore(1, abstract={"ema": abstract(make_state(1)["ema"])})
    assert_same(restored, {"ema": make_state(1)["ema"]})


def test_a_checkpoint_moves_to_other_devices_and_dtypes(tmp_path):
    """Saved from two devices, restored onto eight, and the EMA as bfloat16 for sampling."""
    params = {"w": jnp.arange(64.0).reshape(8, 8)}
    two = NamedSharding(jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,)), PartitionSpec("data"))
    eight = NamedSharding(jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,)), PartitionSpec(None, "data"))
    state = {name: jax.device_put(params, two) for name in checkpoint.TREES}
    with Checkpointer(tmp_path) as checkpointer:
        save(checkpointer, 1, state)
        wanted = {"params": abstract(params, eight), "ema": abstract(params, eight, jnp.bfloat16)}
        restored = checkpointer.restore(abstract=wanted)
    assert restored["params"]["w"].sharding == eight and restored["ema"]["w"].dtype == jnp.bfloat16
    assert_same(restored["params"], params)


def test_the_state_is_copied_before_save_returns(tmp_path):
    """Buffers may be donated and the iterator may move while the save is still being written."""
    state, iterator = make_state(width=100_000), make_iterator(5)
    expected = jax.tree.map(np.array, state)
    step = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, **state, iterator=iterator, meta={})
        next(iterator)
        state = step(step(state))
        again = make_iterator()
        restored = checkpointer.restore(abstract=abstract(expected), iterator=again)
    assert_same(jax.tree.map(np.array, restored), expected)
    assert next(again) == next(make_iterator(5))


def test_the_last_n_stay(tmp_path):
    with Checkpointer(tmp_path, keep=2) as checkpointer:
        for step in (10, 20, 30):
            save(checkpointer, step)
        assert checkpointer.steps() == [20, 30]


def test_a_step_that_is_saved_is_left_as_it_is(saved):
    with Checkpointer(saved, keep=2) as checkpointer:
        save(checkpointer, 1, make_state(9))
        assert_same(checkpointer.restore(abstract=abstract(make_state(1))), make_state(1))


KILLED_WHILE_SAVING = """
import os, sys
import orbax.checkpoint as ocp
from tests.training.test_checkpoint import Checkpointer, make_state, save
with Checkpointer(sys.argv[1], keep=2) as checkpointer:
    save(checkpointer, 1)
    checkpointer.wait()
    # The arrays are in the temporary folder by now; it only lacks its name.
    ocp.StandardCheckpointHandler.finalize = lambda *_: os.kill(os.getpid(), 9)
    save(checkpointer, 2)
"""


def test_a_checkpoint_half_written_is_never_read(tmp_path):
    root = str(pathlib.Path(__file__).parents[2])
    command = [sys.executable, "-c", KILLED_WHILE_SAVING, str(tmp_path)]
    killed = subprocess.run(command, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(list(tmp_path.iterdir())) == 2, "the kill left its half-written folder"

    with Checkpointer(tmp_path, read_only=True) as checkpointer:
        assert checkpointer.steps() == [1]
    with Checkpointer(tmp_path, keep=2) as checkpointer:
        assert checkpointer.latest_step() == 1
        save(checkpointer, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000001", "00000002"]


def test_a_full_disk_is_told_once_and_earlier_checkpoints_stay(saved, monkeypatch, capfd):
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
def test_a_disk_that_is_really_full(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("cannot mount a small disk")
    try:
        noise = {"w": jnp.asarray(np.random.default_rng(0).random(1_000_000))}
        with Checkpointer(disk / "run", keep=1) as checkpointer:
            save(checkpointer, 1)
            save(checkpointer, 2, dict.fromkeys(checkpoint.TREES, noise))
            with pytest.raises(UserError, match="disk/run: .*No space left on device"):
                checkpointer.wait()
        with Checkpointer(disk / "run", read_only=True) as checkpointer:
            assert checkpointer.steps() == [1]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/run: cannot be used for checkpoints: Not a directory"):
        Checkpointer(tmp_path / "file" / "run")


def test_a_checkpoint_of_another_config_is_told_by_names_and_shapes(saved):
    params = make_state(width=16)["params"] | {"bias2": jnp.zeros(3)}
    del params["scale"]
    with Checkpointer(saved, read_only=True) as checkpointer, pytest.raises(UserError) as error:
        checkpointer.restore(abstract={"params": abstract(params)})
    assert str(error.value) == (
        f"{saved}: the checkpoint of step 1 is of another config: in params, bias2 is absent there, (3,) here; "
        "layer.bias is (8,) there, (16,) here; layer.kernel is (4, 8) there, (4, 16) here and 1 more"
    )


def test_the_optimizer_of_another_config_is_told_too(saved):
    other = abstract(optax.sgd(1e-3, momentum=0.9).init(make_state()["params"]))
    with (
        Checkpointer(saved, read_only=True) as checkpointer,
        pytest.raises(UserError, match="another config: in opt, "),
    ):
        checkpointer.restore(abstract={"opt": other})


def test_every_restore_names_its_shardings(saved):
    unplaced = jax.eval_shape(make_state)
    with Checkpointer(saved, read_only=True) as checkpointer, pytest.raises(ValueError, match="params has no sharding"):
        checkpointer.restore(abstract={"params": unplaced["params"]})


def test_what_is_not_there(tmp_path, saved):
    with pytest.raises(UserError, match="nowhere: no such checkpoint folder"):
        Checkpointer(tmp_path / "nowhere", read_only=True)
    with Checkpointer(tmp_path / "new") as checkpointer:
        assert checkpointer.latest_step() is None
        with pytest.raises(UserError, match="new: holds no complete checkpoint"):
            checkpointer.restore(abstract={})
    with Checkpointer(saved, read_only=True) as checkpointer:
        with pytest.raises(UserError, match="no checkpoint of step 7; there are 1"):
            checkpointer.restore_meta(7)
        shutil.rmtree(saved / "00000001" / "ema")
        with pytest.raises(UserError, match="the checkpoint of step 1 has no ema"):
            checkpointer.restore(abstract={"ema": abstract(make_state()["ema"])})


def test_damaged_files_are_told_by_folder_and_step(saved):
    for file in (saved / "00000001" / "params").rglob("d/*"):
        file.write_bytes(file.read_bytes()[:10])
    (saved / "00000001" / "meta" / "metadata").write_text(json.dumps({})[:1])
    with Checkpointer(saved, read_only=True) as checkpointer:
        with pytest.raises(UserError, match="step 1 cannot be read"):
            checkpointer.restore(abstract={"params": abstract(make_state()["params"])})
        with pytest.raises(UserError, match="step 1 cannot be read"):
            checkpointer.restore_meta()

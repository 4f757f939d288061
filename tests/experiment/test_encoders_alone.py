"""An experiment whose encoders are trained alone: what is checked, what the first stage starts from, how it resumes."""

import json
import shutil

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from irg_jax.checkpoints.manager import Checkpointer
from irg_jax.checkpoints.weights import model_weights, open_stage
from irg_jax.core.config.files import from_json, load, to_json
from irg_jax.core.config.schema import replaced
from irg_jax.core.errors import ConfigError, UserError
from irg_jax.experiment import stages
from irg_jax.experiment.config import parse_config
from irg_jax.experiment.run_folder import claim
from irg_jax.models.config import FluxVAEConfig, PixelVAEConfig
from irg_jax.sharding.mesh import make_mesh
from irg_jax.training import trainer, vit_alone
from irg_jax.training.vae_alone import VAEAloneConfig
from tests.commands import SMALL
from tests.training.labelled_squares import write_both


@pytest.fixture(scope="module", autouse=True)
def one_device_and_no_samples():
    """Compiling for one device takes a fraction of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "_evaluate", lambda *arguments: None)
        for module in (stages, trainer):
            patch.setattr(module, "make_mesh", lambda axes: make_mesh(axes, jax.devices()[:1]))
        yield


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """One stage of two steps, from a ViT of three."""
    folder = tmp_path_factory.mktemp("squares")
    c = ConfigDict(dict(stages=dict(stage1=load("template").copy_and_resolve_references())))
    c.stages.stage1.init_from = "{workdir}/vit"
    c.evaluate = ConfigDict(dict(dir="{workdir}/data/shapes", prompts=1, batch_size=1, seed=0))
    c.vit = ConfigDict(dict(write_both(folder, 20, 9), steps=3, batch_size=8, lr=1e-3, warmup_steps=1, seed=0))
    small = {"optim.warmup_steps": 0} | SMALL  # in this order: fewer steps leave no room for a warm-up
    del small["init_from"]
    return replaced(parse_config(c), {f"stages.stage1.{key}": value for key, value in small.items()})


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    stages.run(config, folder)
    return folder


def test_it_is_checked_without_its_files_and_other_configs_leave_it_out(config):
    elsewhere = replaced(config, {"vit.pictures": ("{workdir}/data/none.npz",)})
    assert list(stages.check(elsewhere, devices=1)) == ["stage1"]
    assert parse_config(from_json(to_json(config))) == config
    without = from_json(to_json(config)).copy_and_resolve_references()
    with without.unlocked():
        del without.vit
    assert parse_config(without).vit is None


def test_a_vit_that_no_stage_starts_from_is_refused(config):
    with pytest.raises(ConfigError, match="stages.stage1.init_from: '' leaves the ViT unused .* set it to '{workdir}/"):
        stages.check(replaced(config, {"stages.stage1.init_from": ""}), devices=1)


def test_no_stage_may_have_their_folders(config, with_vae):
    with pytest.raises(ConfigError, match="stages.vit: is the folder of the ViT that is trained alone"):
        replaced(config, {"stages": {"vit": config.stages["stage1"]}})
    with pytest.raises(ConfigError, match="stages.vae: is the folder of the VAE that is trained alone"):
        replaced(with_vae, {"stages": {"vae": config.stages["stage1"]}})


# --- with a VAE


@pytest.fixture(scope="module")
def with_vae(config):
    """The same with the smallest FLUX VAE."""
    vae = FluxVAEConfig(width=32, multipliers=(1, 1, 1), blocks=1, channels=4, scale=1.0, shift=0.0)
    alone = VAEAloneConfig(
        config.vit.pictures, config.vit.held_out, steps=2, batch_size=4, lr=1e-3, warmup_steps=0, divergence=0.1, seed=0
    )
    return replaced(config, {"stages.stage1.model.vae": vae, "vae": alone})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vit": None}, "config.vae: needs config.vit, which hands it to the first stage"),
        (
            {"stages.stage1.model.vae": PixelVAEConfig(downsample=4, scale=1.0, shift=0.0)},
            "stages.stage1.model.vae.kind: 'pixel' has no weights that config.vae could train",
        ),
    ],
)
def test_a_vae_that_no_stage_could_use_is_refused(with_vae, changes, message):
    with pytest.raises(ConfigError, match=message):
        stages.check(replaced(with_vae, changes), devices=1)


def test_the_first_stage_has_the_vae_that_was_trained_before_the_vit(with_vae, tmp_path):
    stages.run(with_vae, tmp_path / "run")
    files = [tmp_path / "run" / name / "bagel" / "ae.safetensors" for name in ("vae", "vit/weights", "stage1")]
    assert len({path.read_bytes() for path in files}) == 1
    assert {"data", "vae", "vit", "stage1"} <= json.loads((tmp_path / "run" / "run.json").read_text())["seconds"].keys()


def test_the_first_stage_starts_from_it_and_the_run_is_still_that_of_its_last_stage(run):
    assert vit_alone.is_trained(run / "vit")
    assert {"data", "vit", "stage1"} <= json.loads((run / "run.json").read_text())["seconds"].keys()
    with Checkpointer(run / "stage1" / "checkpoints", read_only=True) as checkpoints:
        origin = checkpoints.restore_meta()["origin"]
    assert (origin["folder"], origin["step"]) == (str(run / "vit" / "weights"), 0)
    assert open_stage(run).folder == run / "stage1"


def test_the_same_command_goes_on_after_the_vit_or_trains_it_anew(run, config, tmp_path, monkeypatch):
    resumed = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(resumed / "stage1")
    calls = []
    real = vit_alone.train
    monkeypatch.setattr(vit_alone, "train", lambda *given, **more: calls.append(given) or real(*given, **more))
    monkeypatch.setattr(stages, "train", lambda *arguments, **options: None)
    stages.run(config, resumed)
    assert not calls, "it was complete"

    (weights,) = (resumed / "vit" / "weights" / "checkpoints").iterdir()
    weights.rename(weights.with_name(f"{weights.name}.orbax-checkpoint-tmp"))  # as a killed process leaves it
    before = [np.asarray(x) for x in jax.tree.leaves(weights_of(run))]
    stages.run(config, resumed)
    assert len(calls) == 1
    for x, y in zip(before, jax.tree.leaves(weights_of(resumed)), strict=True):
        np.testing.assert_array_equal(x, y)


def weights_of(run):
    return model_weights(open_stage(run / "vit"))


def test_a_run_is_of_one_vit_whose_pictures_may_be_moved(config, tmp_path):
    claim(tmp_path, config)
    (line,) = claim(tmp_path, replaced(config, {"vit.pictures": ("/moved/train.npz",)}))
    assert line.startswith("vit.pictures: ") and line.endswith(' -> ["/moved/train.npz"]')
    with pytest.raises(UserError, match="belongs to another run: vit.lr is 0.001 there, 0.01 here"):
        claim(tmp_path, replaced(config, {"vit.lr": 0.01}))
    with pytest.raises(UserError, match="only the config.json there has the key vit.batch_size"):
        claim(tmp_path, replaced(config, {"vit": None}))


def test_a_run_of_a_version_without_the_section_goes_on(config, tmp_path):
    config = replaced(config, {"vit": None})
    claim(tmp_path, config)
    saved = json.loads((tmp_path / "config.json").read_text())
    del saved["vit"]
    (tmp_path / "config.json").write_text(json.dumps(saved))
    assert claim(tmp_path, config) == []

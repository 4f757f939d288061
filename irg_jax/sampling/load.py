"""From a run's folder to a sampler."""

from pathlib import Path

from irg_jax import config as configs
from irg_jax.bagel import companions
from irg_jax.data import setup
from irg_jax.errors import UserError
from irg_jax.models.config import ModelConfig
from irg_jax.sampling import settings
from irg_jax.sampling.sampler import Origin, Sampler
from irg_jax.sampling.settings import Sampling
from irg_jax.training import sharding
from irg_jax.training.checkpoint import Checkpointer
from irg_jax.training.state import graph_of, with_shardings


def stage_of(run: Path) -> Path:
    """The folder with the checkpoints to use: ``run`` itself, or its last stage that has saved one.

    Raises:
      UserError: no checkpoint below ``run``.
    """
    for folder in (run, *sorted(run.glob("*"), reverse=True)):
        if (folder / "checkpoints").is_dir():
            with Checkpointer(folder / "checkpoints", read_only=True) as checkpoints:
                if checkpoints.latest_step() is not None:
                    return folder
    raise UserError(f"{run}: no checkpoint here; give the folder of a run of irg_jax.train that has saved one")


def sampler(run: str | Path, preset: str = "", **changes: object) -> Sampler:
    """A sampler with the EMA weights of a run's latest checkpoint.

    Args:
      run: the folder of a run, or of one of its stages.
      preset: one of ``settings.PRESETS``, in place of the run's own times and guidance.
      changes: values that replace those of the run's ``sampling`` section, such as ``temperature=0.3``.

    Raises:
      UserError: no checkpoint, a damaged one, or a tokenizer that is not the run's.
    """
    folder = stage_of(Path(run))
    with Checkpointer(folder / "checkpoints", read_only=True) as checkpoints:
        step = checkpoints.latest_step()
        config = configs.from_json(checkpoints.restore_meta(step)["config"])
        model = ModelConfig.from_mapping(config.model)
        graphdef, abstract = graph_of(model)
        mesh = sharding.make_mesh(config.mesh)
        shardings = sharding.state_shardings(abstract, mesh, sharding.Rules())
        params = checkpoints.restore(step, abstract={"ema": with_shardings(abstract, shardings)})["ema"]
    with config.unlocked():
        config.data.tokenizer = str(folder / "tokenizer")
    return Sampler(
        graphdef,
        params,
        autoencoder=companions.open_autoencoder(model.autoencoder, folder),
        vocabulary=setup.vocabulary(config.data, model),
        settings=Sampling.from_mapping({**config.sampling, **settings.preset(preset), **changes}),
        origin=Origin(str(folder), step or 0),
    )

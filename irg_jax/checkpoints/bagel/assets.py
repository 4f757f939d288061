"""Files that belong to the weights of a BAGEL model: its VAE and config files, in the folder ``bagel`` of a run."""

from pathlib import Path

from irg_jax.checkpoints.bagel import vae
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import copy_files
from irg_jax.core.storage import as_path
from irg_jax.models.config import PixelVAEConfig, VAEConfig
from irg_jax.models.vae.flux import FluxVAE
from irg_jax.models.vae.pixel import PixelVAE

NAME = "bagel"


def copy(source: str | Path, run: Path) -> None:
    """Copies the assets of the run that the weights come from, if it has any."""
    if source and (as_path(source) / NAME).is_dir():
        copy_files(as_path(source) / NAME, run / NAME)


def open_vae(config: VAEConfig, run: Path) -> PixelVAE | FluxVAE:
    """The frozen VAE of a run.

    Raises:
      UserError: the weights are missing in the run, or damaged.
    """
    if isinstance(config, PixelVAEConfig):
        return PixelVAE(config)
    path = run / NAME / "ae.safetensors"
    if not path.exists():
        raise UserError(
            f"{path}: no weights for model.vae.kind flux; set init_from to a folder of irg_jax.convert that has them"
        )
    return vae.read(path, config)

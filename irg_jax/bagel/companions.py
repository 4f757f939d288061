"""What goes with the weights of a BAGEL: its autoencoder and config files, in the folder ``bagel`` of a run."""

import shutil
from pathlib import Path

from irg_jax.bagel import autoencoder
from irg_jax.errors import UserError
from irg_jax.models.autoencoder import PixelAutoencoder
from irg_jax.models.config import FluxConfig, PixelConfig
from irg_jax.models.flux import FluxAutoencoder

NAME = "bagel"


def copy(source: str | Path, run: Path) -> None:
    """Takes the companions of the run that weights come from, where it has any: a run's folder stands alone."""
    if source and (Path(source) / NAME).is_dir():
        shutil.copytree(Path(source) / NAME, run / NAME, dirs_exist_ok=True)


def open_autoencoder(config: PixelConfig | FluxConfig, run: Path) -> PixelAutoencoder | FluxAutoencoder:
    """The frozen autoencoder of a run.

    Raises:
      UserError: the run has no weights for it, or damaged ones.
    """
    if isinstance(config, PixelConfig):
        return PixelAutoencoder(config)
    path = run / NAME / "ae.safetensors"
    if not path.exists():
        raise UserError(
            f"{path}: no weights for model.autoencoder.kind flux; start from a checkpoint that has them, "
            "with init.ema=DIR of irg_jax.convert"
        )
    return autoencoder.read(path, config)

"""Files that belong to the weights of a BAGEL model: its VAE and config files, in the folder ``bagel`` of a run."""

import os
from pathlib import Path

from irg_jax.checkpoints.bagel import contents, vae
from irg_jax.checkpoints.bagel.contents import VAE_FILE
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import is_same_folder, is_there
from irg_jax.core.storage import AnyPath, as_path
from irg_jax.models.config import PixelVAEConfig, VAEConfig
from irg_jax.models.vae.flux import FluxVAE
from irg_jax.models.vae.pixel import PixelVAE

NAME = "bagel"


def copy(source: str | os.PathLike[str], run: AnyPath) -> None:
    """Copies the assets of the run that the weights come from, if it has any.

    What is there already stays as it is: a run keeps the assets that it began with. Weights are left out, and named in
    log lines.

    Raises:
      UserError: a file cannot be read, or the run not be written to.
      StorageError: the storage went on answering with errors.
    """
    if not source or not is_there(as_path(source) / NAME):
        return
    origin, target = as_path(source) / NAME, run / NAME
    if not is_same_folder(origin, target):
        # The run may be inside of the source, which must not be copied into itself.
        found = contents.look(origin, contents.published_weights(origin), outside=[run])
        contents.copy(origin, found, target)


def open_vae(config: VAEConfig, run: Path) -> PixelVAE | FluxVAE:
    """The frozen VAE of a run.

    Raises:
      UserError: the weights are missing in the run, or damaged.
    """
    if isinstance(config, PixelVAEConfig):
        return PixelVAE(config)
    path = run / NAME / VAE_FILE
    if not is_there(path):
        raise UserError(
            f"{path}: no weights for model.vae.kind flux; set init_from to a folder of irg_jax.convert that has them"
        )
    return vae.read(path, config)

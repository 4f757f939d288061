"""Files that belong to the weights of a BAGEL model: its VAE and config files, in the folder ``bagel`` of a run."""

import os
from pathlib import Path

from irg_jax.checkpoints.bagel import contents, vae
from irg_jax.checkpoints.bagel.contents import VAE_FILE
from irg_jax.core.errors import UserError
from irg_jax.core.small_files import is_hidden, is_same_folder, is_there
from irg_jax.core.storage import AnyPath, as_path
from irg_jax.models.config import PixelVAEConfig, VAEConfig
from irg_jax.models.vae.flux import FluxVAE
from irg_jax.models.vae.pixel import PixelVAE

NAME = "bagel"


def copy(source: str | os.PathLike[str], run: AnyPath) -> None:
    """Copies the assets of the run that the weights come from, or else those of its last stage that has any.

    What is there already stays as it is: a run keeps the assets that it began with. Weights are left out, and named in
    log lines.

    Raises:
      UserError: a file cannot be read, or the run not be written to.
      StorageError: the storage went on answering with errors.
    """
    origin, target = _find(source), run / NAME
    if origin is None:
        return
    if not is_same_folder(origin, target):
        # The run may be inside of the source, which must not be copied into itself.
        found = contents.look(origin, contents.published_weights(origin), outside=[run])
        contents.copy(origin, found, target)


def _find(source: str | os.PathLike[str]) -> AnyPath | None:
    folder = as_path(source) if source else None
    if folder is None or not folder.is_dir():
        return None
    inside = (path for path in sorted(folder.iterdir(), reverse=True) if not is_hidden(path))
    return next((path / NAME for path in (folder, *inside) if is_there(path / NAME)), None)


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

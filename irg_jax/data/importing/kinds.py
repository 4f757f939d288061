"""The formats that trajectories are imported from."""

from collections.abc import Callable, Mapping

from irg_jax.core.config.schema import did_you_mean
from irg_jax.core.errors import UserError
from irg_jax.data.importing.folder import Folder
from irg_jax.data.importing.hugging_face import HuggingFace
from irg_jax.data.importing.irgl_folders import IRGLFolders
from irg_jax.data.importing.records import Records
from irg_jax.data.importing.row import Importer

KINDS: dict[str, Callable[..., Importer]] = {
    "parquet": IRGLFolders,
    "records": Records,
    "folder": Folder,
    "hf": HuggingFace,
}


def open_importer(source: str, columns: Mapping[str, str]) -> Importer:
    """The importer of ``KIND:PATH``.

    Args:
      source: the kind, one of ``KINDS``, and where the data are.
      columns: of the kind ``hf``: the column of a field.

    Raises:
      UserError: an unknown kind, columns for another kind, or what the kind raises.
      StorageError: the storage went on answering with errors.
    """
    kind, _, path = source.partition(":")
    if kind not in KINDS or not path:
        nearest = did_you_mean(kind, KINDS) if kind not in KINDS else ""
        raise UserError(f"--from: {source!r} is not KIND:PATH with one of {', '.join(KINDS)}{nearest}")
    if kind == "hf":
        return KINDS[kind](path, columns)
    if columns:
        raise UserError(f"--columns: is for --from hf:DIR, not for {kind}")
    return KINDS[kind](path)

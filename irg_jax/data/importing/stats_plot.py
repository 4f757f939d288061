"""The distributions of a data set's lengths and image sizes as a picture."""

from pathlib import Path

import numpy as np

from irg_jax.core.errors import UserError
from irg_jax.data import modes
from irg_jax.data.importing import stats
from irg_jax.data.trajectory import IMAGES


def check(path: str) -> None:
    """Raises UserError unless ``plot`` can draw into this file: another ending, or no matplotlib."""
    if Path(path).suffix != ".png":
        raise UserError(f"--plot: {path} must end with .png")
    try:
        import matplotlib  # noqa: F401, PLC0415  (an extra)
    except ImportError as error:
        raise UserError("--plot: matplotlib is missing; pip install 'irg-jax[plot]'") from error


def plot(found: stats.Stats, path: str, max_tokens: int) -> None:
    """Draws the lengths of samples by mode, or of texts without a tokenizer, and the image sizes.

    Args:
      found: of ``stats.collect``.
      path: a .png file.
      max_tokens: is marked.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  (an extra)

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    lengths, sizes = figure.subplots(1, 2)
    if found.in_tokens:
        curves = {name: stats.tokens(found, mode) for name, mode in modes.MODES.items()}
        lengths.axvline(max_tokens, color="black", linestyle=":", label=f"--max_tokens {max_tokens}")
        lengths.set_xlabel("tokens of a sample")
    else:
        curves = {name: found.lengths[name][found.lengths[name] > 0] for name in ("prompt", "thinking1", "thinking2")}
        lengths.set_xlabel("characters of a text")
    for name, values in curves.items():
        if len(values):
            lengths.plot(np.sort(values), np.linspace(0, 1, len(values)), drawstyle="steps-post", label=name)
    lengths.set_ylabel("share that is at most as long")
    lengths.legend(fontsize=8)
    for name in IMAGES:
        there = found.sizes[name][found.sizes[name][:, 0] > 0]
        if len(there):
            unique, counts = np.unique(there, axis=0, return_counts=True)
            sizes.scatter(unique[:, 0], unique[:, 1], s=20 + 400 * counts / counts.max(), alpha=0.5, label=name)
    sizes.set_xlabel("width in pixels")
    sizes.set_ylabel("height in pixels")
    sizes.legend(fontsize=8)
    figure.savefig(path, dpi=120)

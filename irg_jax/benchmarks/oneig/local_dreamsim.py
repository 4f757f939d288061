"""DreamSim (Fu et al. 2023, arXiv 2306.09344) for OneIG-Bench's diversity, by the package of its authors.

The official script (OneIG-Bench/OneIG-Benchmark@41b4983) takes ``dreamsim(pretrained=True)``, the ensemble of three
ViT-B/16, and the distance of each two images of a prompt. That is 1 minus the cosine of their embeddings, so each image
is embedded once here. The calls are those of dreamsim 0.2.1. An extra: ``pip install 'irg-jax[dreamsim]'``.
"""

import contextlib
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from irg_jax.benchmarks.benchmark import FoundImages, Item, PromptSet
from irg_jax.benchmarks.measurements import Measured, Model, Owed, Value
from irg_jax.benchmarks.oneig.similarity import pair_distances
from irg_jax.core.errors import UserError
from irg_jax.data import images

TYPE = "ensemble"


def owed(prompts: PromptSet, found: FoundImages) -> list[Owed]:
    """The prompts that have two images or more; the others have no pair."""
    there = (
        Owed(item.key, item.prompt, tuple(found.images[place] for place in _places(item) if place in found.images))
        for item in prompts.items
    )
    return [one for one in there if len(one.images) > 1]


def table(prompts: PromptSet, distances: Mapping[str, Value]) -> dict[str, Value]:
    """What ``score_files.read_scores`` reads: the distances of each prompt, none where there is no pair."""
    return {item.key: distances.get(item.key, []) for item in prompts.items}


@contextlib.contextmanager
def load(device: str, weights: Path) -> Iterator[Model]:
    """A model that gives the distances of the pairs of each prompt.

    Args:
      device: of torch.
      weights: folder in which the package keeps its weights, and downloads them to where they are missing.

    Raises:
      UserError: the extra is missing, or the weights cannot be loaded.
    """
    torch, dreamsim = _packages()
    try:
        # The other arguments are the defaults, as in the official script.
        model, preprocess = dreamsim(pretrained=True, device=device, cache_dir=str(weights), dreamsim_type=TYPE)
    except Exception as error:  # of torch, peft and the download, of many kinds
        reason = f"{type(error).__name__}: {error}"
        raise UserError(
            f"DreamSim cannot be loaded ({reason}); check --device {device} and --weights {weights}"
        ) from error

    def embed(cells: Sequence[Any]) -> np.ndarray:
        """Of images, float [N, D]."""
        pixels = torch.cat([preprocess(cell) for cell in cells])  # each is [1, 3, 224, 224]
        with torch.no_grad():
            return np.asarray(model.embed(pixels.to(device)).cpu().numpy(), np.float64)

    def run(batch: Sequence[Measured]) -> list[Value]:
        cells = [images.decode(image, one.key) for one in batch for image in one.images]
        embeddings = embed(cells)
        if not np.isfinite(embeddings).all():
            keys = ", ".join(one.key for one in batch)
            raise UserError(f"DreamSim gives embeddings that are no numbers for {keys}; check --device {device}")
        ends = np.cumsum([len(one.images) for one in batch])[:-1]
        return [pair_distances(own, one.key) for one, own in zip(batch, np.split(embeddings, ends), strict=True)]

    yield Model(f"DreamSim ({TYPE}) through dreamsim {_version()}", run)


def _places(item: Item) -> list[tuple[str, int]]:
    return [(item.key, sample) for sample in range(item.samples)]


def _packages() -> tuple[Any, Any]:
    try:
        import torch  # noqa: PLC0415  (an extra)
        from dreamsim import dreamsim  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise UserError(f"DreamSim needs {error.name}; pip install 'irg-jax[dreamsim]'") from None
    return torch, dreamsim


def _version() -> str:
    try:
        return importlib.metadata.version("dreamsim")
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"

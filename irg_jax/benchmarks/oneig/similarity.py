"""OneIG-Bench's three metrics of embeddings: reasoning, style and diversity; the models run elsewhere.

Their rules are those of OneIG-Bench/OneIG-Benchmark@41b4983:

- reasoning: the cosine of an image and the reference answer of its prompt, both from LLM2CLIP
  (microsoft/LLM2CLIP-Openai-L-14-336 with LLM2CLIP-Llama-3-8B-Instruct-CC-Finetuned);
- style: the cosine of an image and the nearest reference of its style, at least 0, as the mean of two encoders: CSD
  (ViT-L) and xingpng/OneIG-StyleEncoder;
- diversity: the distance of each two images of a prompt, which is 1 minus the cosine for DreamSim (ensemble).

A missing image, such as a black cell, is a NaN score or an embedding of NaN, and has no row.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from irg_jax.benchmarks.benchmark import Item, Row
from irg_jax.core.errors import UserError

REASONING, STYLE, DIVERSITY = "reasoning", "style", "diversity"


def cosines(a: np.ndarray, b: np.ndarray, where: str) -> np.ndarray:
    """The cosine of each row of ``a`` [N, D] with each of ``b`` [M, D], [N, M]; NaN where a row is NaN.

    Raises:
      UserError: the widths differ, or a row is 0 or infinite, at ``where``.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise UserError(f"{where}: embeddings of shapes {a.shape} and {b.shape}; both must be of one model, [N, D]")
    return _unit(a, where) @ _unit(b, where).T


def reasoning_scores(images: np.ndarray, answer: np.ndarray, where: str) -> np.ndarray:
    """The scores of the images of a prompt, [N].

    Args:
      images: float [N, D].
      answer: float [D] of the reference answer.
      where: names the prompt in errors.

    Raises:
      UserError: see ``cosines``.
    """
    return cosines(images, answer.reshape(1, -1), where)[:, 0]


def nearest_scores(images: np.ndarray, references: np.ndarray, where: str) -> np.ndarray:
    """The style scores of one encoder, [N]: the largest cosine, at least 0.

    Args:
      images: float [N, D].
      references: float [M, D] of the style of their prompt.
      where: names the prompt in errors.

    Raises:
      UserError: see ``cosines``; no references.
    """
    if not len(references):
        raise UserError(f"{where}: the style has no references; add them")
    return np.maximum(cosines(images, references, where).max(axis=1), 0)


def pair_distances(images: np.ndarray, where: str) -> list[float]:
    """The distances of each two images that are there, from embeddings [N, D]; none where there are fewer than two.

    Raises:
      UserError: see ``cosines``.
    """
    there = images[~np.isnan(images).any(axis=1)]
    one, other = np.triu_indices(len(there), k=1)
    return (1 - cosines(there, there, where)[one, other]).tolist()


def reasoning_rows(item: Item, scores: Sequence[float]) -> list[Row]:
    """A row for each image of a prompt that has a score.

    Raises:
      UserError: another number of scores than images, or one that is not a cosine.
    """
    return _rows(item, REASONING, scores)


def style_rows(item: Item, csd: Sequence[float], se: Sequence[float]) -> list[Row]:
    """A row for each image of a prompt that has a score of both encoders: the mean of both, each at least 0.

    Raises:
      UserError: another number of scores than images, or one that is not a cosine.
    """
    both = [_checked(item, STYLE, scores) for scores in (csd, se)]
    return _rows(item, STYLE, [(max(one, 0.0) + max(other, 0.0)) / 2 for one, other in zip(*both, strict=True)])


def diversity_rows(item: Item, distances: Sequence[float]) -> list[Row]:
    """One row for a prompt, with sample 0: the mean distance of its pairs. None where there is no pair.

    Raises:
      UserError: more distances than pairs, or one that is below 0.
    """
    pairs = item.samples * (item.samples - 1) // 2
    there = [float(distance) for distance in distances if distance == distance]
    if len(there) > pairs or any(not -1e-6 <= distance <= 2 for distance in there):
        raise UserError(f"{item.key}: distances are {there!r:.80}; give one from 0 to 2 for each of the {pairs} pairs")
    return [Row(item.key, 0, item.category, {DIVERSITY: sum(there) / len(there)})] if there else []


def items_of(metric: str, items: Sequence[Item], styles: Mapping[str, str]) -> list[Item]:
    """The items that a metric is about: those of reasoning, those of anime that have a style, or all.

    Args:
      metric: ``reasoning``, ``style`` or ``diversity``.
      items: of the prompt set.
      styles: by key, from ``references.read_styles``.
    """
    chosen = {
        REASONING: lambda item: item.category == "reasoning",
        STYLE: lambda item: item.key in styles,
        DIVERSITY: lambda item: True,
    }
    return [item for item in items if chosen[metric](item)]


def _rows(item: Item, name: str, scores: Sequence[float]) -> list[Row]:
    return [
        Row(item.key, sample, item.category, {name: score})
        for sample, score in enumerate(_checked(item, name, scores))
        if score == score
    ]


def _checked(item: Item, name: str, scores: Sequence[float]) -> list[float]:
    given = [float(score) for score in scores]
    if len(given) != item.samples:
        raise UserError(f"{item.key}: {len(given)} scores of {name}; give {item.samples}, NaN for a missing image")
    for score in given:
        if score == score and not -1.01 <= score <= 1.01:
            raise UserError(f"{item.key}: {name} {score:g} is no cosine; give scores from -1 to 1")
    return given


def _unit(vectors: np.ndarray, where: str) -> np.ndarray:
    vectors = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if np.any(lengths == 0) or np.isinf(lengths).any():
        raise UserError(f"{where}: an embedding is 0 or infinite; embed the image again, or write NaN if it is missing")
    return vectors / lengths

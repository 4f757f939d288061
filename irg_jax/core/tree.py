"""Trees of weights: names and counts."""

from typing import Any

import jax


def count_weights(tree: Any) -> int:
    """Number of elements in a tree of arrays or shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def weight_name(path: tuple) -> str:
    """The dotted name of a weight from its path in a tree."""
    return jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")

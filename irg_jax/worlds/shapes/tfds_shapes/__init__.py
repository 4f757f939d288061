"""The TFDS builder of the shapes world, in its own package because TFDS reads the folder around a builder."""

from irg_jax.worlds.shapes.tfds_shapes.builder import Shapes, ShapesConfig

__all__ = ["Shapes", "ShapesConfig"]

"""The TFDS builder of the shapes world, in a package of its own because TFDS reads the folder around a builder."""

from irg_jax.data.shapes.tfds_shapes.builder import Shapes, ShapesConfig

__all__ = ["Shapes", "ShapesConfig"]

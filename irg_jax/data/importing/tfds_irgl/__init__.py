"""The TFDS builder of imported data sets, in its own package because TFDS reads the folder around a builder."""

from irg_jax.data.importing.tfds_irgl.builder import Irgl, finish

__all__ = ["Irgl", "finish"]

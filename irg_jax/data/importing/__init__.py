"""Imports trajectories from other formats into a data set of our own: ``python -m irg_jax.build_data irgl``."""

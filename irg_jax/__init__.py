"""IRG-JAX: Interleaving Reasoning Generation, trained and run in JAX."""

__version__ = "0.1.0"

"""The benchmarks of ``irg_jax.bench``; training and sampling do not need this package."""

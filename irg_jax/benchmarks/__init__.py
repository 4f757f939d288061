"""What ``irg_jax.bench`` measures: nothing here is needed to train or to sample."""

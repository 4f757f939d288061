"""The shipped configs. Installed as ``irg_jax.configs``, so that any config can import from them."""

"""Checkpoints: Orbax items of a run, the weights in them, conversion to and from published formats."""

"""Sharding over a mesh of devices: rules for weights, activations and batches, and the processes of a run."""

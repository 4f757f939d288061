"""What a config needs of a machine, which need not be available: memory, time, network."""

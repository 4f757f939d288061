"""What a config needs of a machine that is not at hand: memory, time, network."""

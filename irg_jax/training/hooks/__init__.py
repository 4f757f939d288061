"""What happens beside training: logging, validation, checkpoints, profiles, a watch over processes that stand still."""

"""Configs: files, the typed tree of dataclasses that they become, and the command line."""

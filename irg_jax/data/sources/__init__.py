"""Random access to records on disk."""

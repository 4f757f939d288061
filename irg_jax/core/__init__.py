"""Used by all other packages: errors, configs and command lines, chips, names in trees, storage."""

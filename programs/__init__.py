"""The models, one file each. Each can be run by its path or its name."""

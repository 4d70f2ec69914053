"""The models, one file each, runnable by path or name."""

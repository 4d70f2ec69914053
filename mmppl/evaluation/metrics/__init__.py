"""Metrics, one file for each family; importing a file registers what it holds."""

"""Metrics, one file for each family. Importing a file registers its metrics."""

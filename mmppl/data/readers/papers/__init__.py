"""Formats in which the data sets of papers come: read by recipes, not by `mmppl.read`."""

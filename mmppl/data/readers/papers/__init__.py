"""Formats of the data sets of papers. Recipes read them; `mmppl.read` does not."""

"""Formats of the data sets of papers. Recipes and readers of corpora read them; `mmppl.read` takes none by itself."""

"""Recipes: the data sets of papers, one file each."""

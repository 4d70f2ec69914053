"""Recipes: the data sets of papers, one file each. `registry.recipe` registers another one."""

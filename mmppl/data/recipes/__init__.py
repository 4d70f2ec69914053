"""Recipes: the data sets of papers, one file each; those made of MNIST, and those that are read as they
were released, have folders of their own. `registry.recipe` registers another one."""

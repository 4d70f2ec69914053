"""Readers of single arrays in files, and of items of a torch data set."""

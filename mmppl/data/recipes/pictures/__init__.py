"""Recipes of pictures that are no digits."""

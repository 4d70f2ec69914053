"""Recipes made of MNIST's digits, one file each."""

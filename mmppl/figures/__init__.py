"""Figures of a fitted model, one file each."""

"""Figures that are curves of a metric, one file each."""

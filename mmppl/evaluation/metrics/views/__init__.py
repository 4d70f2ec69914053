"""Metrics of what the views of a row have in common."""

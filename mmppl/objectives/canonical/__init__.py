"""Canonical correlations of views: moments, directions, and what is read off the codes."""

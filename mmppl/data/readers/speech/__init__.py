"""Readers of recordings, and the features that they make of them."""

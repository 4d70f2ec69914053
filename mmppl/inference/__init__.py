"""A fitted model without a folder, and the questions it answers."""

"""A fitted model without a folder, and the questions that it answers."""

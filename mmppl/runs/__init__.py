"""A fitted model and its folder: record, storage, trust, comparison, card."""

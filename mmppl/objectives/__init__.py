"""Objectives: from a model and a guide on a batch to the named terms of a loss."""

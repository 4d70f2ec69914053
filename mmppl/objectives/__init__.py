"""Objectives: a model/guide pair on a batch → named terms of a loss."""

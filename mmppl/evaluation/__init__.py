"""Judging a fitted model: metrics, baselines, coherence, likelihoods, tables."""

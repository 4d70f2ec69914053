"""The evaluation of a fitted model: metrics, baselines, coherence, likelihoods, tables."""

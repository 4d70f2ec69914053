"""Dependence of codes and of modalities: covariances, bounds on the total correlation by critics, and an estimator."""

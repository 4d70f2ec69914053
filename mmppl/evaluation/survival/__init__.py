"""Survival times: how well predictions order and meet them, and predictions without a latent model."""

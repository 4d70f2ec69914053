"""Distributions of latents: Gaussians, Laplaces, and products, mixtures and barycentres of experts."""

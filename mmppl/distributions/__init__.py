"""Distributions of latents: Gaussians, Laplaces, products, mixtures and barycentres of experts."""

"""Likelihoods, one file each. Each is a class that knows everything that depends on the likelihood."""

"""Likelihoods: how a decoder's output becomes a distribution over one modality, one file each."""

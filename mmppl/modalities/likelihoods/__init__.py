"""Likelihoods: how a decoder's output becomes a distribution over one modality, one file each."""

from . import bernoulli, categorical, laplace, normal  # noqa: F401  # each makes its name known

"""Likelihoods of counts, whole numbers from 0 on that are scored as they are."""

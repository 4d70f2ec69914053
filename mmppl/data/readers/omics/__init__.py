"""Readers of AnnData and MuData, in files and in memory: modalities that share some of their rows, by name."""

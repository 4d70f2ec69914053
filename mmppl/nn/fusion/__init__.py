"""Fusion networks: sequences of features of several modalities become one vector Z per row. One file per paper."""

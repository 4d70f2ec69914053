"""Answers in the formats of others: files by their suffix, DataFrames, AnnData and MuData, InferenceData."""

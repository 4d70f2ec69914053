"""Readers of the formats of Apache Arrow: Parquet, Feather and IPC files, one at a time or in parts."""

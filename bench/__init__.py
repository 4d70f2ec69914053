"""Timing on this machine: our kernels and steps against eager and hand-written PyTorch, and against the limit."""

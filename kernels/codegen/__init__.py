"""From a formula to generated PyTorch, C and Triton code."""

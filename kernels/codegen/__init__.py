"""Scalar formula → derivative → PyTorch, C and Triton source; which of them runs where."""

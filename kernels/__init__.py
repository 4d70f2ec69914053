"""Numerical kernels. Each file has the meaning in plain PyTorch and the public function; nothing here knows Pyro."""

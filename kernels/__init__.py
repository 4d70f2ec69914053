"""Numerical kernels: each file says what it means in plain PyTorch and offers the public function. No Pyro here."""

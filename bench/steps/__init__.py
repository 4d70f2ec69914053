"""Training steps of programs beside hand-written PyTorch, one program or term a file."""

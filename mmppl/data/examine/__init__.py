"""What is suspicious about data, one kind of finding a file; `mmppl data` and `fit` tell it."""

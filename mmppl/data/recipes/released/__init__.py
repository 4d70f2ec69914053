"""Data sets as their authors released them, one file each."""

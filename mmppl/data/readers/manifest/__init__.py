"""Columns that name files: the images, recordings, arrays and texts that a manifest lists."""

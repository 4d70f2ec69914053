"""Files that are larger than memory, or not yet whole."""

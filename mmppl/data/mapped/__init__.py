"""Sources larger than memory: read in blocks of rows, once, into files that are mapped from then on."""

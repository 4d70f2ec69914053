"""Several models side by side: the losses of the same rows, paired differences, ranks and tables."""

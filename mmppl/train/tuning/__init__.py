"""Settings of a program that are searched for on held-out rows, and the preset files that keep them."""

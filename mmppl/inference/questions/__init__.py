"""Questions about rows of data, before they are answered: what is given, wanted, set and kept."""

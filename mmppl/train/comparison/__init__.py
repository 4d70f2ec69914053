"""Several programs or runs side by side: each is fitted on the same rows, and asked the same questions."""

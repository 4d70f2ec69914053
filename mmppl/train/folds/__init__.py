"""Cross-validation: a program is fitted once for each fold, and every row is tested by a fit that never saw it."""

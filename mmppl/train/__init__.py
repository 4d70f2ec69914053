"""Fitting: settings, epochs, recorded and captured steps, checkpoints."""

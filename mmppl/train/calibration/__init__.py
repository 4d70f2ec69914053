"""Calibration after training: what of a program is fitted to held-out rows, one file each."""

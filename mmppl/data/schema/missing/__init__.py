"""What rows lack: rows of a modality, its single cells, steps of a sequence."""

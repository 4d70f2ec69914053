"""Which columns are a modality together."""

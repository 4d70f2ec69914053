"""Named arrays become a schema and model units: infer or match, override, scale, encode."""

"""From named arrays to a schema and model units: infer or match, override, scale, encode."""

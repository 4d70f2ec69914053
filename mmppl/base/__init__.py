"""Small things that know no modality: parsing, precision, files, seeded generators, text."""

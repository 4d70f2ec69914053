"""Networks from which programs build their encoders and decoders."""

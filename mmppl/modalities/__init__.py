"""What a modality is: its schema, its transform, its likelihood, and what is an image or a subset."""

"""What a modality is: its schema, its transform, its likelihood, images and subsets."""

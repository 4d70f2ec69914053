"""What recipes are made of: files below ROOT, pairs of a class, pictures and their distortions."""

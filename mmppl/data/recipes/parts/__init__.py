"""The parts that recipes are made of: files below ROOT, pairs within a class, pictures and their distortions."""

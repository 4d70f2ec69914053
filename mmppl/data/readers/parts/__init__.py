"""What readers share: opening a file, unpacking a zip and reading an .npy without trusting what they say of their
sizes."""

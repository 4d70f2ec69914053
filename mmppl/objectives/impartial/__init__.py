"""Rules that combine the gradients of several tasks into one, such as those of the decoders that share a latent."""

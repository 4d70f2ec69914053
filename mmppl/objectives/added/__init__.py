"""Terms that a fit adds to any program (`fit --term`): a registry, and the built-in ones, a file each."""

"""The stages of a fit: how they are planned, and how each kind of stage moves the parameters."""

"""The views of factor analysis: what is known of the weights and the noise of each, with and without gaps."""

"""Networks over the steps of a sequence: recurrent, convolutional and attending ones, and statistics over the steps."""

"""Networks: perceptrons, convolutions, and one encoder and one decoder per modality."""

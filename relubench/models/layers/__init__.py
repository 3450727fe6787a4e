"""What a network is made of: random streams, layers with explicit gradients, and optimizers."""

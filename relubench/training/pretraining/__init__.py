"""Pre-trains the hidden layers of a network without labels, one after the other."""

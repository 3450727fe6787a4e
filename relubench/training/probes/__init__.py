"""Probes: measurements of a network's hidden layers after each epoch."""

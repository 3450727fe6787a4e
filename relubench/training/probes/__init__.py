"""Probes: what the hidden layers of a network do, looked at after each epoch."""

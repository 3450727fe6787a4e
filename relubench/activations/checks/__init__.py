"""The checks of an activation before training: its shape, slope and gain, and whether it is a known one."""

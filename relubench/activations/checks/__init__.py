"""What is found out about an activation before it is trained: its shape, slope, gain, and whether it is a known one."""

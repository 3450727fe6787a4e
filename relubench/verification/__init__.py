"""Are an activation's values and gradients right? Compared with the true function, pattern by pattern."""

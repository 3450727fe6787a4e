"""The comparison of an activation's values and gradients with the true function, bit pattern by bit pattern."""

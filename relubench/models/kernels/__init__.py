"""Machine code for the dense layers of one network on a processor, generated for its batch and compiled at start."""

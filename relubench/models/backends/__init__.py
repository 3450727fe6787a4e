"""Who multiplies the dense layers of a run on a processor: the question, what is known of it, and kept answers."""

"""The answer within a budget: which activations can still be the best, and what each of them costs."""

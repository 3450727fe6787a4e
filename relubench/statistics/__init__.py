"""Statistics of error rates and of timings: intervals, differences, power, equivalence. Torch-free."""

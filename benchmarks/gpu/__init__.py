"""What a machine with one GPU is asked in one command: `python -m benchmarks.gpu --budget 480`."""

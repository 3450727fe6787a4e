"""The machine: its files, paths, processes, devices, and users' code as it is loaded. Torch-free but for the probes."""

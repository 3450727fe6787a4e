"""The rows of the table of activations, a module for each family. Torch-free."""

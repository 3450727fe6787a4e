"""The report of `choose`: a sentence, a table of activations with their prices, and one ranking of several settings."""

"""Formulas as activations: from the text of --act to a function with its slope."""

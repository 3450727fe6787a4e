"""Presets: experiments as YAML files, read with the line of each key, checked, resolved for a scale. Torch-free."""

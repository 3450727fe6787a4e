"""The tables of `relubench speed`."""

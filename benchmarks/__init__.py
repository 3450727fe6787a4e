"""Side-by-side measurements of relubench and what its users could write or install instead."""

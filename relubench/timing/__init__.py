"""How fast one activation runs on this machine: sizes, roofs, an interleaved schedule, and statistics for it."""

"""What a run is, what came of it, and where it is kept."""

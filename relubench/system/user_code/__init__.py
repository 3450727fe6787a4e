"""Users' own Python files: how they are imported, and what they read, so that a change is noticed. Torch-free."""

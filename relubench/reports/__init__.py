"""What a reader sees: summaries of stored runs beside the published numbers, as tables, files and plots. Torch-free."""

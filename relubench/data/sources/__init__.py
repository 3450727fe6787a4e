"""The data sets: a module for each source that the table names, and for users' own files."""

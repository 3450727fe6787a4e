"""The source files of data sets: where they lie, how they are fetched and checked, and the cache of prepared copies."""

"""Readers of one file format each: they know bytes and arrays, and no data set."""

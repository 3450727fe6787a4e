"""Readers of one file format each, independent of any data set."""

"""Trains populations of networks that differ in nothing but what the comparison is about."""

"""Plots and pictures, a module for each."""

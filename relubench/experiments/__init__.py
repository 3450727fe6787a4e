"""Experiments: their configuration, the runs that follow from it, and how a study is carried out."""

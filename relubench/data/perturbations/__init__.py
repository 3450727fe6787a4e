"""Perturbed versions of image sets, after NISTP (Bengio et al. 2011)."""

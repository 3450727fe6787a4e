"""Figures: each is declared once, as values; the same declaration is drawn into a file and into a page."""

"""A result as one page: HTML that needs no network and no other file, or the same in Markdown."""

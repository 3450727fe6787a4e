"""How the site of relubench is built: `sphinx-build -W docs site`, then open site/index.html from disk."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from reference_pages import write_reference

from relubench.version import __version__

project = "relubench"
release = __version__
copyright = "the relubench developers"

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "lessons/*.ipynb"]

smartquotes = False
"""An option keeps its two hyphens."""

html_theme = "furo"
html_title = f"relubench {release}"
html_copy_source = False
html_show_sphinx = False

write_reference(Path(__file__).parent / "reference")

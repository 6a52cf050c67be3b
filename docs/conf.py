"""Sphinx settings; ``make docs`` builds with warnings as errors."""

project = "macro-gym"
author = "the macro-gym authors"
copyright = "2026, the macro-gym authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_use_rtype = False
default_role = "code"

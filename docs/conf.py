"""Sphinx configuration. `tox run -e docs` builds the pages in docs/_build."""

from ninja_auth_kit import __version__

project = "django-ninja-auth-kit"
copyright = "the ninja_auth_kit authors"  # the name that Sphinx requires
version = release = __version__

extensions = ["myst_parser", "sphinxcontrib.mermaid", "sphinx_copybutton"]
exclude_patterns = ["_build", "events.intro.md"]
myst_fence_as_directive = ["mermaid"]
myst_enable_extensions = ["tasklist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"{project} {version}"
html_static_path: list[str] = []
copybutton_prompt_text = "$ "
nitpicky = True

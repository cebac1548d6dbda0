"""A real browser: a package, so that its tests share one Chromium and one JupyterLab (fixtures of this scope)."""

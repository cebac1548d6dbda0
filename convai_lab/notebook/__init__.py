"""Magics, cards and panels: the front door in Jupyter."""

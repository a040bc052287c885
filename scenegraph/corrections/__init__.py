"""Corrections of a scene graph by its user: a file that survives every rebuild."""

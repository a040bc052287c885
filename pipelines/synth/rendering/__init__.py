"""Rendering of a synthetic world: light, shading, the camera's optics."""

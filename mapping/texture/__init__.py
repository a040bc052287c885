"""Textures of a mesh from the images that it was made of."""

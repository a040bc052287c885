"""Depth from several posed images without a network."""

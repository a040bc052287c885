"""Depth from several posed images without any network."""

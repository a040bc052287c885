"""Weights of depth pixels, alignment of the depth of all frames to one scale, and planes of a building."""

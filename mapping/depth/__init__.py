"""Weights of depth images, and the alignment of the depth of all frames of a sequence."""

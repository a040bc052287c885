"""Readers: one module per sequence format, each with a function that opens a path as a `FrameSequence`."""

"""Readers: one module a sequence format, each a function that opens a path as a `FrameSequence`."""

"""The compiled kernels of the renderer."""

"""The compiled kernels of the volume."""

"""A detector of objects in photographs, and what its boxes say about the labels of pixels."""

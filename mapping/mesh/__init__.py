"""Triangle meshes: the type, its files, metrics, ray casting and pictures."""

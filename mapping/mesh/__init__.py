"""Triangle meshes: the type, its files, what is measured on it, rays against it and pictures of it."""

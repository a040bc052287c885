"""Objects: pieces of the mesh, their boxes, and how they relate to each other."""

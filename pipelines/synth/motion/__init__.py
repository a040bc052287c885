"""Motion of the camera and the people of a synthetic world."""

"""How the camera and the people of a synthetic world move."""

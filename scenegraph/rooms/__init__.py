"""Places, storeys and rooms: the segmentation of free space."""

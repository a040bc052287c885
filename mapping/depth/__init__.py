"""What a depth image is worth, and how the depth of all frames of a sequence is brought to one scale."""

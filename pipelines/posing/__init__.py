"""From images without poses to a posed sequence in metres: sharp frames, structure from motion, and the scale."""

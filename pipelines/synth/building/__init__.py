"""The shell of a synthetic building: rooms, walls, openings, doors, stairs."""

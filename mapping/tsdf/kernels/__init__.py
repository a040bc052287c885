"""Everything compiled of the volume."""

"""Everything compiled of the renderer."""

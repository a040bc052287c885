"""Poses: refined by the images, or found from images alone by structure from motion and brought to metres."""

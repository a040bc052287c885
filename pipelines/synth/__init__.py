"""Synthetic worlds with exact truth: layout, furniture, rendering, camera paths, people, and the output folder."""

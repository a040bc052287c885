"""Synthetic worlds with exact truth: layout and furniture, rendering, camera paths, people and the writer of a sequence folder."""

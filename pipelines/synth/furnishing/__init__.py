"""Furnishing of a synthetic building, and changes between two visits."""

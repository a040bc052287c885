"""What stands where in a synthetic building, and what changes between two visits."""

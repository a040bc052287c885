"""Moving and changing things: detections, tracks, identities, and the presence of objects."""

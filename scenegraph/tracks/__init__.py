"""What moves or changes: detections, tracks, who is who, and when objects were there."""

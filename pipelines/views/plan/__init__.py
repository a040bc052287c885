"""Floor plans: one drawing per storey in metres, and its writers as SVG, DXF and PDF."""

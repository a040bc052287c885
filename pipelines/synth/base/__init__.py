"""What all of a synthetic world is made of: shapes, materials, plans, occupied space."""

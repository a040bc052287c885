"""The base of a synthetic world: shapes, materials, plans, occupied space."""

"""Parametric furniture: functions `(rng, style) -> Model` that make closed meshes out of simple solids."""

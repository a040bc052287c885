"""Offline sequence to mesh and scene graph: readers, stages, run folder, synthetic worlds, evaluation, viewers, command line."""

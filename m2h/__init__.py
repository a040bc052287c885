"""The multi-task network: depth, semantics, surface normals and edges from one image."""

from m2h.predictions import Predictions as Predictions

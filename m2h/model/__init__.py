"""The network as torch modules: `build_model(config)` gives one that maps images to a dict of outputs."""

from m2h.config import M2HConfig as M2HConfig
from m2h.model.cross_view import Neighbours as Neighbours
from m2h.model.fold import prepare_for_inference as prepare_for_inference
from m2h.model.network import M2H as M2H
from m2h.model.network import build_model as build_model

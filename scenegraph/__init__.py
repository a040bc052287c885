"""Objects, places, rooms, dynamic objects and the graph that contains them."""

from scenegraph.files.json_io import load_scene_graph as load_scene_graph
from scenegraph.files.json_io import save_scene_graph as save_scene_graph
from scenegraph.graph import SceneGraph as SceneGraph

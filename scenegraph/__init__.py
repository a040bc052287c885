"""Objects, places, rooms, dynamic objects and the graph that holds them."""

from scenegraph.graph import SceneGraph as SceneGraph

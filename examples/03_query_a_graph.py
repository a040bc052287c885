"""Query a scene graph: python examples/03_query_a_graph.py RUN_FOLDER/scene_graph.json"""

import sys

from scenegraph import load_scene_graph
from scenegraph.query import nearest, objects, path

graph = load_scene_graph(sys.argv[1])
for key, room in graph.nodes("room"):
    print(f"{key} {room.label}: {len(objects(graph, room=key))} objects; one is at the middle:")
    for hit in nearest(graph, room.position, count=1):
        print(f"   {hit.key} {hit.label}, {hit.distance:.2f} m away")

rooms = [key for key, _ in graph.nodes("room")]
if len(rooms) > 1:
    found = path(graph, rooms[0], rooms[-1], min_clearance=0.25)
    print(
        f"from {rooms[0]} to {rooms[-1]}: {found.length:.1f} m over {len(found.places)} places, narrowest {found.clearance:.2f} m"
    )

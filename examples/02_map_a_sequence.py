"""Map a recorded sequence from Python: python examples/02_map_a_sequence.py SEQUENCE RUN_FOLDER"""

import sys

from pipelines import PipelineConfig, open_sequence, run
from pipelines.settings import FramesConfig
from scenegraph import load_scene_graph

sequence = open_sequence(sys.argv[1])
print(
    f"{sequence.name}: {sequence.format}, {sum(info.used for info in sequence.infos)} of {len(sequence)} frames are usable"
)

manifest = run(sequence, sys.argv[2], config=PipelineConfig(frames=FramesConfig(stride=2)))
for name, stage in manifest["stages"].items():
    print(f"{name:<10} {stage['seconds']:7.2f} s  {stage['summary'].get('text', '')}")

graph = load_scene_graph(f"{sys.argv[2]}/scene_graph.json")
for key, room in graph.nodes("room"):
    labels = sorted(graph[child].label for child in graph.children(key, "object"))
    print(f"{key} {room.label}, {room.area:.1f} m2: {', '.join(labels)}")

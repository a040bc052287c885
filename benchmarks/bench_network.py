"""Speed, memory and agreement of the M2H network, compared with the plain order of its published description.

Every variant runs in its own process with the same weights, the same image and the same number of threads, one at a time,
in alternating rounds, so that all see the same disturbances. The first run of each is an ignored warm-up. A run is
`clean` when other processes took less than 15 % of a core meanwhile; medians are over clean runs where there are any. Memory is
the peak of the resident set over the runs, and its increase since before the first.

    python benchmarks/bench_network.py                         # light and full, some minutes on two quiet cores
    python benchmarks/bench_network.py --networks light --rounds 15 --variants plain eager eager-bf16 onnxruntime openvino
    python benchmarks/bench_network.py --device cuda
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from common import busy_seconds, machine, table, write_json

if TYPE_CHECKING:
    from m2h.config import M2HConfig

CLEAN = 0.15
VARIANTS = {
    "plain": "plain order: 1x1 behind upsamplings, attention that returns weights, unfolded norms, contiguous layout",
    "plain-keep": "the same with the allocator setting of the predictor",
    "eager": "this package as the predictor runs it: float32, prepared for inference, freed memory kept",
    "eager-bare": "this package's model in evaluation mode, nothing prepared, default allocator",
    "eager-depth-semantics": "eager, asked for depth and semantics only",
    "eager-depth": "eager, asked for depth only",
    "eager-bf16": "eager under bfloat16 autocast",
    "eager-fp16": "eager under float16 autocast",
    "compile": "eager through torch.compile",
    "onnxruntime": "this package exported to ONNX, through ONNX Runtime",
    "openvino": "this package exported to ONNX, through OpenVINO in float32",
    "cuda-plain": "plain on a GPU",
    "cuda": "this package on a GPU, float32, channels-last",
    "cuda-fp16": "the same under float16 autocast",
    "cuda-bf16": "the same under bfloat16 autocast",
    "cuda-graph": "cuda, replayed as a CUDA graph",
    "cuda-graph-fp16": "cuda-fp16, replayed as a CUDA graph",
}
DEFAULT_VARIANTS = {
    "cpu": ["plain", "eager", "eager-bare", "eager-depth-semantics", "openvino"],
    "cuda": ["cuda-plain", "cuda", "cuda-fp16", "cuda-bf16", "cuda-graph", "cuda-graph-fp16"],
}


@dataclass(frozen=True)
class Setting:
    """A setting: network, input (batch, height, width), threads."""

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
    run, parameters = make_variant(variant, setting, Path(folder))
    reset_peak()
    before = resident("VmRSS")
    run()
    line.send({"setup_s": time.perf_counter() - start, "parameters": parameters})
    while (order := line.recv()) != "stop":
        if order == "outputs":
            line.send({name: np.asarray(x, np.float32) for name, x in run().items()})
            continue
        busy, own, start = busy_seconds(), time.process_time(), time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        after = busy_seconds()
        others = 0.0 if busy is None or after is None else after - busy - (time.process_time() - own)
        peak = resident("VmHWM")
        memory = {"peak_mb": peak, "added_mb": peak - before}
        line.send({"seconds": seconds, "foreign": max(0.0, others) / seconds} | memory | gpu_memory(variant))


def resident(field: str) -> float:
    """VmRSS (resident memory) or VmHWM (its peak) of this process in MiB; 0 where /proc has none."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(row.split()[1]) / 1024 for row in lines if row.startswith(field)), 0.0)


def reset_peak() -> None:
    """Reset the peak to the current resident size, so that building the network does not count."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def gpu_memory(variant: str) -> dict[str, float]:
    if not variant.startswith("cuda"):
        return {}
    import torch

    return {"gpu_peak_mb": torch.cuda.max_memory_allocated() / 2**20}


def make_variant(variant: str, setting: Setting, folder: Path) -> tuple[Callable[[], dict[str, Any]], int]:
    """The network of the setting with rough weights as a function that returns its outputs, and its number of parameters."""
    import torch
    from plain_network import PlainM2H, roughen

    from m2h.model import build_model, prepare_for_inference
    from m2h.runtime import keep_freed_memory

    model: Any = roughen(build_model(configuration(setting.network)))
    parameters = sum(x.numel() for x in model.parameters())
    noise = np.random.default_rng(0).normal(size=(setting.batch, 3, setting.height, setting.width))
    images = torch.from_numpy(noise.astype(np.float32))
    if variant.startswith("cuda"):
        return on_gpu(variant, model, images), parameters
    if variant in ("onnxruntime", "openvino"):
        run = exported(variant, model, images, folder, setting.threads)
        del model
        gc.collect()
        return run, parameters
    if variant not in ("plain", "eager-bare"):
        keep_freed_memory()
    if variant.startswith("plain"):
        plain = PlainM2H(model.to(memory_format=torch.contiguous_format))
        return lambda: plain(images), parameters
    if variant != "eager-bare":
        model = prepare_for_inference(model)
    if variant == "compile":
        model = torch.compile(model)
    tasks = {"eager-depth-semantics": ("depth", "semantics"), "eager-depth": ("depth",)}.get(variant)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(variant.rpartition("-")[2])

    def run() -> dict[str, Any]:
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype is not None):
            return {name: x.float() for name, x in model(images, tasks=tasks).items()}

    return run, parameters


def configuration(name: str) -> M2HConfig:
    """A published network, or `tiny`: a small one of the same kind, to try this script."""
    from m2h.config import M2HConfig

    if name == "tiny":
        return replace(M2HConfig.tiny(), crop_padding=False, unit_normals=False, detail_channels=0)
    return M2HConfig.published(name)  # type: ignore[arg-type]


def exported(runtime: str, model: Any, images: Any, folder: Path, threads: int) -> Callable[[], dict[str, Any]]:
    from m2h.backends import open_exported
    from m2h.export import export_onnx
    from m2h.record import CheckpointRecord, Preprocessing

    size = (images.shape[2], images.shape[3])
    path = folder / f"{'light' if model.config.separable else 'full'}-{model.config.channels}-{size[0]}x{size[1]}.onnx"
    if not path.is_file():
        export_onnx(model, CheckpointRecord(config=model.config, preprocessing=Preprocessing(size=size)), path)
    tasks = model.config.tasks
    network, _ = open_exported(path, runtime, threads=threads)
    return lambda: network(images, tasks)


def on_gpu(variant: str, model: Any, images: Any) -> Callable[[], dict[str, Any]]:
    import torch
    from plain_network import PlainM2H

    from m2h.model import prepare_for_inference

    if variant == "cuda-plain":
        model = PlainM2H(model.to(memory_format=torch.contiguous_format).cuda())
        images = images.cuda()
    else:
        model = prepare_for_inference(model).cuda()
        images = images.cuda().contiguous(memory_format=torch.channels_last)
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(variant.rpartition("-")[2])

    def once() -> dict[str, Any]:
        # The cast weights of an autocast cache must not outlive a captured graph.
        with torch.inference_mode(), torch.autocast("cuda", dtype, enabled=dtype is not None, cache_enabled=False):
            return dict(model(images))

    torch.cuda.reset_peak_memory_stats()

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
    base = results[variants[0]]
    for result in results.values():
        result["speed_up"] = base["median_s"] / result["median_s"]
        result["best_speed_up"] = base["best_s"] / result["best_s"]
    return results


def summarize(worker: Worker) -> dict[str, Any]:
    clean = [run["seconds"] for run in worker.runs if run["foreign"] < CLEAN]
    every = [run["seconds"] for run in worker.runs]
    memory = {n: round(worker.runs[-1][n]) for n in ("peak_mb", "added_mb", "gpu_peak_mb") if n in worker.runs[-1]}
    times = {"median_s": statistics.median(clean or every), "best_s": min(every), "clean_runs": len(clean)}
    return {**times, "runs": len(every), **memory, **worker.setup}


def difference(outputs: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> dict[str, float]:
    pairs = [(outputs[name], reference[name]) for name in outputs]
    worst = max(float(np.abs(a - b).max() / b.std()) for a, b in pairs)
    rms = max(float(np.sqrt(np.mean((a - b) ** 2)) / b.std()) for a, b in pairs)
    return {"worst_difference": worst, "rms_difference": rms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["light", "full"], choices=["full", "light", "small", "tiny"])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), help="the first is the reference")
    parser.add_argument("--device", choices=list(DEFAULT_VARIANTS), default="cpu", help="chooses the default variants")
    parser.add_argument("--size", nargs=2, type=int, default=(224, 224), metavar=("H", "W"))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "network.json")
    arguments = parser.parse_args()
    variants = arguments.variants or DEFAULT_VARIANTS[arguments.device]
    report = {"machine": machine(), "variants": {name: VARIANTS[name] for name in variants}, "results": []}
    for network in arguments.networks:
        setting = Setting(network, arguments.batch, *arguments.size, arguments.threads)
        measured = measure(variants, setting, arguments.rounds)
        report["results"].append({**asdict(setting), "variants": measured})
        show(setting, measured)
        write_json(arguments.out, report)


def show(setting: Setting, measured: dict[str, dict[str, Any]]) -> None:
    """Print a table of the results."""
    parameters = next(iter(measured.values()))["parameters"]
    image = f"{setting.batch}x{setting.height}x{setting.width}"
    print(f"\n{setting.network} ({parameters:,} parameters), {image}, {setting.threads} threads")
    header = [
        "",
        "median ms",
        "best ms",
        "clean",
        "speed-up",
        "of best",
        "peak MB",
        "added MB",
        "worst diff.",
        "rms diff.",
    ]
    rows = [
        [
            variant,
            f"{1000 * r['median_s']:.0f}",
            f"{1000 * r['best_s']:.0f}",
            f"{r['clean_runs']}/{r['runs']}",
            f"{r['speed_up']:.2f}x",
            f"{r['best_speed_up']:.2f}x",
            r["peak_mb"],
            r["added_mb"],
            f"{r['worst_difference']:.1e}",
            f"{r['rms_difference']:.1e}",
        ]
        for variant, r in measured.items()
    ]
    print(table(header, rows), flush=True)


if __name__ == "__main__":
    main()

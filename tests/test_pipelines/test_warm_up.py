"""What a run compiles is compiled ahead; a run that has nothing to do compiles nothing."""

import subprocess
import sys
import threading

import pytest

from mapping.tsdf.tsdf_config import TSDFConfig
from pipelines import PipelineConfig, open_sequence, run, warm_up
from pipelines.settings import FramesConfig

SCRIPT = """if True:
    import importlib, pkgutil, sys
    from numba.core.dispatcher import Dispatcher
    import mapping.depth.kernels, scenegraph.motion.kernels, mapping.tsdf.kernels as kernels
    from pipelines import open_sequence, run, warm_up

    modules = [importlib.import_module(m.name) for m in pkgutil.iter_modules(kernels.__path__, kernels.__name__ + ".")]
    modules += [mapping.depth.kernels, scenegraph.motion.kernels]
    found = [k for m in modules for k in vars(m).values() if isinstance(k, Dispatcher)]
    for _ in warm_up.use_kernels():
        pass
    ahead = {(kernel.__name__, signature) for kernel in found for signature in kernel.signatures}
    warm_up.use_kernels = lambda: iter(())
    run(open_sequence(sys.argv[1]), sys.argv[2], until="fuse")
    now = {(kernel.__name__, signature) for kernel in found for signature in kernel.signatures}
    assert len(ahead) > 15
    print(sorted({name for name, _ in now - ahead}))
"""


@pytest.mark.slow
def test_fusing_compiles_nothing_more(box_room, tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(box_room), str(tmp_path / "run")]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.slow
def test_an_error_there_is_no_error_of_the_run_and_what_is_up_to_date_needs_none(box_room, tmp_path, monkeypatch):
    begun = []

    def broken():
        begun.append(True)
        raise MemoryError
        yield

    monkeypatch.setattr(warm_up, "use_kernels", broken)
    config = PipelineConfig(frames=FramesConfig(stride=3), tsdf=TSDFConfig(voxel_size=0.1))
    for until, count in (("predict", 0), ("fuse", 1), ("fuse", 1), ("graph", 1)):
        run(open_sequence(box_room), tmp_path / "run", config=config, until=until)
        assert len(begun) == count, until


def test_it_stops_after_the_step_at_hand(monkeypatch):
    taken, resume = [], threading.Event()

    def steps():
        for number in range(10):
            taken.append(number)
            resume.wait()
            yield

    monkeypatch.setattr(warm_up, "use_kernels", steps)
    with pytest.raises(KeyError):
        give_up(resume)
    assert taken in ([0], [0, 1])


def give_up(resume):
    with warm_up.compiling_ahead():
        threading.Timer(0.2, resume.set).start()
        raise KeyError

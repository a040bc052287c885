import signal
import subprocess
import sys

import pytest


def test_a_run_that_is_told_to_stop_prints_no_stack_trace():
    pytest.importorskip("pycolmap", reason="the sfm extra is not installed")
    code = """if True:
        import os, signal
        from pipelines.posing.pycolmap_import import quiet_pycolmap
        quiet_pycolmap()
        os.kill(os.getpid(), signal.SIGTERM)
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == -signal.SIGTERM
    assert result.stderr == ""


def test_a_handler_of_the_program_is_kept():
    pytest.importorskip("pycolmap", reason="the sfm extra is not installed")
    code = """if True:
        import os, signal, sys
        from pipelines.posing.pycolmap_import import quiet_pycolmap
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        quiet_pycolmap()
        os.kill(os.getpid(), signal.SIGTERM)
    """
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 7

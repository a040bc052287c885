"""Where there is no network at all, not even the machine's own, a map is made and exported."""

import os
import shutil
import subprocess
import sys

import pytest

WITHOUT_NETWORK = ("unshare", "--map-root-user", "--net")
"""A network namespace without any interface that is up, in a user namespace of its own."""
INTERFACES = "import socket; s = socket.socket(); s.settimeout(1); s.connect(('127.0.0.1', 9))"

EXPORTS = """
import sys; from pipelines.cli import main
for form in sys.argv[2:]:
    main(["export", sys.argv[1], "--to", form], standalone_mode=False)
"""


def is_allowed():
    return shutil.which("unshare") and not subprocess.run([*WITHOUT_NETWORK, "true"], capture_output=True).returncode


needs_namespaces = pytest.mark.skipif(not is_allowed(), reason="unshare --map-root-user --net is not allowed here")


def without_network(*arguments):
    """A command of Python in a network namespace of its own; its standard error."""
    command = [*WITHOUT_NETWORK, sys.executable, *map(str, arguments)]
    environment = os.environ | {"HF_HUB_OFFLINE": ""}  # nothing may rely on being told
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@needs_namespaces
def test_the_namespace_has_no_network():
    assert "Network is unreachable" in without_network("-c", INTERFACES).stderr


@needs_namespaces
@pytest.mark.slow
def test_a_run_and_its_exports_need_no_network(box_room, tmp_path):
    out = tmp_path / "run"
    result = without_network("-m", "pipelines", "run", box_room, "--out", out, "--range", "0:12", "--voxel", 0.1, "-q")
    assert (result.returncode, result.stderr) == (0, "")
    assert (out / "scene.html").stat().st_size > 100_000
    result = without_network("-c", EXPORTS, out, "glb", "html", "spark_dsg")
    assert (result.returncode, result.stderr) == (0, "")
    assert len(list((out / "export").iterdir())) == 3


@needs_namespaces
@pytest.mark.slow
def test_the_shipped_network_needs_no_network(images_only, tmp_path):
    arguments = ("--source", "m2h", "--range", "0:1", "-q")
    result = without_network("-m", "pipelines", "predict", images_only, "--out", tmp_path / "run", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(list((tmp_path / "run" / "predictions").glob("*.npz"))) == 1

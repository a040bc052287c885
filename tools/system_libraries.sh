#!/bin/sh
# Shared libraries that open3d loads, and the venv module, which pip cannot bring. Installs them as root on Debian and Ubuntu,
# otherwise prints the one command that does. Quiet when nothing is missing.
set -eu
python="${1:-python3}"

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "m2h needs Python 3.10 or newer as '$python' (or: make PYTHON=python3.11 ...)" >&2
    exit 1
fi

has_library() {
    "$python" -c "import ctypes, sys; ctypes.CDLL(sys.argv[1])" "$1" 2>/dev/null
}

missing=""
for pair in libusb-1.0.so.0:libusb-1.0-0 libGL.so.1:libgl1 libEGL.so.1:libegl1 libgomp.so.1:libgomp1; do
    has_library "${pair%%:*}" || missing="$missing ${pair#*:}"
done
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"

[ -n "$missing" ] || exit 0
command="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing:$missing"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $command >/dev/null
else
    echo "open3d needs system libraries that are not here; install them with: sudo $command" >&2
    exit 1
fi

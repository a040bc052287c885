"""pycolmap without its messages, and without the handler by which it prints a stack trace when a run is told to stop."""

from __future__ import annotations

import signal
import threading
from typing import Any


def quiet_pycolmap() -> Any:
    """The module pycolmap; raises ImportError where it is not installed."""
    before = signal.getsignal(signal.SIGTERM)
    import pycolmap

    pycolmap.logging.minloglevel = pycolmap.logging.FATAL.value
    # Loading it replaces the handler behind Python's back. Only the main thread may put it back.
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)
    return pycolmap

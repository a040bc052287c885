"""Named checkpoints: which there are, where they come from, and getting them into the cache whole and checked.

Nothing here imports torch. Files arrive as `NAME.part`, so that an interrupted download resumes where it stopped, and take their
final name only after their size and SHA-256 have been compared with the registry. The SHA-256 is compared again before a file is
used. Of several processes that want the same file, one downloads it and the others wait.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO

from m2h.checkpoint import load_checkpoint, load_published_file, read_record
from m2h.config import M2HConfig
from m2h.record import CheckpointError, CheckpointRecord, Preprocessing
from mapping.files import (
    atomic_path,
    locked_file,
    make_folder,
    move,
    remove_abandoned,
    remove_file,
    without_temporaries,
)
from mapping.reading.files import file_sha256, opened

if TYPE_CHECKING:
    from m2h.model import M2H

CHUNK = 1 << 20
WAIT_SECONDS = 0.2
"""How often a process that waits for the download of another one looks at it."""
SHIPPED = Path(__file__).parent / "shipped"
"""Checkpoints that come with the package."""
DEFAULT_NAME = "m2h-rooms"
"""The shipped checkpoint that is used where none is named."""
Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes in all."""


class WeightsError(ValueError):
    """A checkpoint that cannot be had; the message says which, why, and what to do."""


@dataclass(frozen=True)
class WeightsEntry:
    """One named checkpoint: its file's name, size in bytes, SHA-256 and address, and the record it is used with."""

    name: str
    filename: str
    size: int
    sha256: str
    url: str
    record: CheckpointRecord


_M2H = "https://github.com/UAV-Centre-ITC/M2H/raw/140ee41f809f4b907903ba073dc25db56d2a3667/scripts/checkpoints/"
_PUBLISHED = CheckpointRecord(
    config=M2HConfig.published("full"),
    preprocessing=Preprocessing(
        mean=(0.4803, 0.4800, 0.4723), std=(0.2594, 0.2573, 0.2641), policy="squash", size=(224, 224), antialias=False
    ),
    licence="MIT (package.xml of the repository)",
    source="UAV-Centre-ITC/M2H at 140ee41f809f4b907903ba073dc25db56d2a3667; Udugama, Vosselman, Nex: M2H, IROS 2025",
    notes="The axes of the normals and, but for m2h-indoor, the input normalisation are not documented by the authors.",
)


def _entry(name: str, filename: str, size: int, sha256: str, record: CheckpointRecord) -> WeightsEntry:
    return WeightsEntry(name, filename, size, sha256, _M2H + filename, record)


REGISTRY: dict[str, WeightsEntry] = {
    entry.name: entry
    for entry in (
        _entry(
            "m2h-indoor",
            "m2h_indoor.pt",
            326476753,
            "af35c6e61d8d971482525c387123bee1553cc509567a0a869376ed9ce105f38a",
            replace(_PUBLISHED, trained_on="indoor scenes, not named", metrics={"rmse": 0.5422, "miou": 0.6969}),
        ),
        _entry(
            "m2h-nyudv2",
            "m2h_nyudv2.pt",
            326476122,
            "df93492b758b65a2e8c82750432892cfb36c5e3c567b7a6f0c5970055a545cf8",
            replace(_PUBLISHED, trained_on="NYUDv2"),
        ),
        _entry(
            "m2h-hypersim",
            "best_final_hypersim_rmse_3.1571_miou_0.5283.pt",
            326474229,
            "b0ad391c1fce9c80a77b5ff5888210a2185ee759da61d48e21cb972ed145e955",
            replace(_PUBLISHED, trained_on="Hypersim", metrics={"rmse": 3.1571, "miou": 0.5283}),
        ),
        _entry(
            "m2h-hypersim-paper",
            "hypersim_paper_model_rmse_3.1890_miou_0.5232.pt",
            326473598,
            "c550220c8cf1a68a0f30416c98cfd307322154fde475c04e6d0d3f6c8d91fc65",
            replace(_PUBLISHED, trained_on="Hypersim", metrics={"rmse": 3.1890, "miou": 0.5232}),
        ),
    )
}
"""The four published files. All contain the full network with 41 classes, whatever their descriptions say."""


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/m2h`, or `~/.cache/m2h`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "m2h"


def cached_path(entry: WeightsEntry, cache: Path | None = None) -> Path | None:
    """Where the entry's file lies in the cache, or None when none of its size is there; `is_published` checks its hash."""
    path = (cache or default_cache()) / entry.filename
    return path if path.is_file() and path.stat().st_size == entry.size else None


def is_published(entry: WeightsEntry, path: Path) -> bool:
    """Whether a file is the published one, byte by byte."""
    return path.stat().st_size == entry.size and file_sha256(path, WeightsError) == entry.sha256


def fetch_weights(entry: WeightsEntry, *, cache: Path | None = None, progress: Progress | None = None) -> Path:
    """The entry's file in the cache, downloaded when it is not there or damaged: resumed, checked, then renamed.

    While another process downloads it, its `progress` is reported. Addresses may be https, http or file. Raises WeightsError when
    the address cannot be reached (with what to do offline), when it has no such file, and when what came is not the published
    file or larger; the partial download of the last kind is removed.
    """
    folder = cache or default_cache()
    target, part = folder / entry.filename, folder / f"{entry.filename}.part"
    if target.is_file() and is_published(entry, target):
        return target
    make_folder(folder)
    with _waiting_for(part, lambda size: progress(size, entry.size) if progress else None) as file:
        if target.is_file() and is_published(entry, target):  # the other process has it
            remove_file(part)
            return target
        return _fetch(entry, file, part, target, progress)


def _fetch(entry: WeightsEntry, file: BinaryIO, part: Path, target: Path, progress: Progress | None) -> Path:
    """Download into `file`, which is that of `part`, and give it its name."""
    try:
        _download(entry, file, progress)
    except (urllib.error.URLError, http.client.HTTPException, OSError, WeightsError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(
            f"{entry.name}: cannot download {entry.url} ({reason}). Without a connection: fetch that file on another machine "
            f"and run `m2h weights import FILE`"
        ) from error
    return _accept(entry, part, target)


def import_weights(
    path: Path, *, cache: Path | None = None, registry: Mapping[str, WeightsEntry] = REGISTRY
) -> tuple[str, Path]:
    """Copy a file that was brought by hand into the cache; returns the name it can be used by, and where it lies.

    Published files are known by their SHA-256; our own checkpoints are taken under the name of their file. Raises WeightsError
    for anything else.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    folder = cache or default_cache()
    digest = file_sha256(path, WeightsError)
    known = [entry for entry in registry.values() if entry.sha256 == digest]
    if known:
        name, target = known[0].name, folder / known[0].filename
    else:
        try:
            read_record(path)
        except CheckpointError as error:
            raise WeightsError(
                f"{path}: neither a published file (SHA-256 {digest[:12]}... is none of {', '.join(registry)}) nor a checkpoint "
                f"written by m2h"
            ) from error
        name, target = path.stem, folder / f"{path.stem}.safetensors"
    make_folder(folder)
    remove_abandoned(folder)
    with atomic_path(target) as temporary, opened(path, WeightsError) as source, temporary.open("wb") as copy:
        while chunk := source.read(CHUNK):
            copy.write(chunk)
    return name, target


def resolve_weights(name_or_path: str | Path, *, cache: Path | None = None) -> tuple[Path, CheckpointRecord]:
    """The file and record of a checkpoint: a path, or a name of a shipped, an imported or a published one.

    A path to a published `.pt` file goes by its name in the registry, or as the full published network. Raises WeightsError that
    lists the names, says how to fetch the file, or that the one in the cache is damaged; CheckpointError for a file that is no
    checkpoint.
    """
    path = Path(name_or_path)
    if path.is_file() and path.suffix in (".pt", ".pth"):
        known = [entry.record for entry in REGISTRY.values() if entry.filename == path.name]
        return path, known[0] if known else _PUBLISHED
    for candidate in (path, *(f / f"{name_or_path}.safetensors" for f in (SHIPPED, cache or default_cache()))):
        if candidate.is_file():
            return candidate, read_record(candidate)
    entry = REGISTRY.get(str(name_or_path))
    if entry is None:
        raise WeightsError(
            f"{name_or_path}: neither a file nor a checkpoint's name; names are {', '.join(known_names(cache=cache))}"
        )
    present = cached_path(entry, cache)
    if present is None:
        raise WeightsError(
            f"{entry.name}: not in the cache yet; run `m2h weights fetch {entry.name}` ({entry.size / 1e6:.0f} MB)"
        )
    if not is_published(entry, present):
        raise WeightsError(
            f"{present}: is not the published file {entry.name} (its SHA-256 differs); run `m2h weights fetch {entry.name}`"
        )
    return present, entry.record


def load_weights(name_or_path: str | Path, *, cache: Path | None = None) -> tuple[M2H, CheckpointRecord]:
    """The network in evaluation mode and its record, from whatever `resolve_weights` finds; raises as it does."""
    path, record = resolve_weights(name_or_path, cache=cache)
    if path.suffix == ".safetensors":
        return load_checkpoint(path)
    return load_published_file(path, record), record


def known_names(*, cache: Path | None = None) -> list[str]:
    """Names that `resolve_weights` takes: shipped, imported, published, in this order."""
    folders = [folder for folder in (SHIPPED, cache or default_cache()) if folder.is_dir()]
    files = [path for folder in folders for path in sorted(folder.glob("*.safetensors"))]
    own = [path.stem for path in without_temporaries(files)]
    return list(dict.fromkeys([*own, *REGISTRY]))


@contextlib.contextmanager
def _waiting_for(part: Path, report: Callable[[int], None]) -> Iterator[BinaryIO]:
    """The partial download, open and locked; while another process has it, `report` is called with its size."""
    while True:
        try:
            file = locked_file(part)
            break
        except BlockingIOError:
            with contextlib.suppress(FileNotFoundError):  # it has just got its name
                report(part.stat().st_size)
            time.sleep(WAIT_SECONDS)
    with file:
        try:
            yield file
        finally:
            if not file.seek(0, os.SEEK_END):  # nothing came
                remove_file(part)


def _download(entry: WeightsEntry, file: BinaryIO, progress: Progress | None) -> None:
    """Bring the file to its full length, from where it ends now if the server can do that.

    What is longer than the published file is cut off after a byte: enough to see that it is another one.
    """
    have = file.seek(0, os.SEEK_END)
    if have == entry.size:
        return
    if have > entry.size:
        have = 0
    with _open_from(entry.url, have) as (stream, start):
        file.truncate(start)
        written = file.seek(start)
        while written <= entry.size and (chunk := stream.read(min(CHUNK, entry.size + 1 - written))):
            file.write(chunk)
            written += len(chunk)
            if progress:
                progress(min(written, entry.size), entry.size)
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def _open_from(url: str, start: int) -> Iterator[tuple[IO[bytes], int]]:
    """A stream of an address from byte `start` on, and where it really starts."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "file":
        with opened(urllib.request.url2pathname(parts.path), WeightsError) as file:
            file.seek(start)
            yield file, start
    elif parts.scheme in ("http", "https"):
        request = urllib.request.Request(url, headers={"User-Agent": "m2h", "Range": f"bytes={start}-"})
        with urllib.request.urlopen(request, timeout=30) as response:
            # A server that ignores the range answers 200 and sends everything.
            yield response, start if response.status == 206 else 0
    else:
        raise OSError(f"addresses must be https, http or file, not {parts.scheme}")


def _accept(entry: WeightsEntry, part: Path, target: Path) -> Path:
    """Give a complete download its name if it is the right file; a short one stays to be resumed, a wrong one goes."""
    size = part.stat().st_size
    if size < entry.size:
        raise WeightsError(
            f"{entry.name}: download stopped at {size} of {entry.size} bytes; run the command again to resume it"
        )
    digest = file_sha256(part, WeightsError)
    if size > entry.size or digest != entry.sha256:
        remove_file(part)
        found = f"more than {entry.size} bytes" if size > entry.size else f"SHA-256 {digest}"
        raise WeightsError(
            f"{entry.name}: {entry.url} is not the published file ({found}; expected {entry.size} bytes, "
            f"SHA-256 {entry.sha256}); what was downloaded has been removed"
        )
    move(part, target)
    return target

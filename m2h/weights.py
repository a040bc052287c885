"""Named checkpoints: which there are, where they come from, and getting them into the cache whole and checked.

Nothing here imports torch. Files arrive as `NAME.part`, so that an interrupted download goes on where it stopped, and take their
final name only after their size and SHA-256 have been compared with the registry.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from m2h.checkpoint import load_checkpoint, load_published_file, read_record
from m2h.config import M2HConfig
from m2h.record import CheckpointError, CheckpointRecord, Preprocessing
from mapping.reading.files import opened

if TYPE_CHECKING:
    from m2h.model import M2H

CHUNK = 1 << 20
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


_M2H = "https://github.com/UAV-Centre-ITC/M2H/raw/140ee41/scripts/checkpoints/"
_PUBLISHED = CheckpointRecord(
    config=M2HConfig.published("full"),
    preprocessing=Preprocessing(
        mean=(0.4803, 0.4800, 0.4723), std=(0.2594, 0.2573, 0.2641), policy="squash", size=(224, 224), antialias=False
    ),
    licence="MIT (package.xml of the repository)",
    source="UAV-Centre-ITC/M2H at 140ee41; Udugama, Vosselman, Nex: M2H, IROS 2025",
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
"""The four published files. All hold the full network with 41 classes, whatever their descriptions say."""


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/m2h`, or `~/.cache/m2h`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "m2h"


def cached_path(entry: WeightsEntry, cache: Path | None = None) -> Path | None:
    """Where the entry's file lies in the cache, or None when it is not there in full."""
    path = (cache or default_cache()) / entry.filename
    return path if path.is_file() and path.stat().st_size == entry.size else None


def fetch_weights(entry: WeightsEntry, *, cache: Path | None = None, progress: Progress | None = None) -> Path:
    """The entry's file in the cache, downloaded when it is not there: resumed, checked, then renamed.

    Addresses may be https, http or file. Raises WeightsError when the address cannot be reached (with what to do offline), when
    it has no such file, and when what came is not the published file; the partial download of the last kind is removed.
    """
    present = cached_path(entry, cache)
    if present is not None:
        return present
    folder = cache or default_cache()
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{entry.filename}.part"
    try:
        _download(entry, part, progress)
    except (urllib.error.URLError, http.client.HTTPException, OSError, WeightsError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(
            f"{entry.name}: cannot download {entry.url} ({reason}). Without a connection: fetch that file on another machine "
            f"and run `m2h weights import FILE`"
        ) from error
    return _accept(entry, part, folder / entry.filename)


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
    digest = sha256_of(path)
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
    folder.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.copyfile(path, temporary)
    temporary.replace(target)
    return name, target


def resolve_weights(name_or_path: str | Path, *, cache: Path | None = None) -> tuple[Path, CheckpointRecord]:
    """The file and record of a checkpoint: a path, or a name of a shipped, an imported or a published one.

    A path to a published `.pt` file goes by its name in the registry, or as the full published network. Raises WeightsError that
    lists the names or says how to fetch the file, CheckpointError for a file that is no checkpoint.
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
    own = [path.stem for folder in folders for path in sorted(folder.glob("*.safetensors"))]
    return list(dict.fromkeys([*own, *REGISTRY]))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with opened(path, WeightsError) as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file)


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()  # Python 3.10 has no hashlib.file_digest
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _download(entry: WeightsEntry, part: Path, progress: Progress | None) -> None:
    """Bring `part` to its full length, from where it ends now if the server can do that."""
    have = part.stat().st_size if part.is_file() else 0
    if have == entry.size:
        return
    if have > entry.size:
        have = 0
    with _open_from(entry.url, have) as (stream, start), part.open("ab" if start else "wb") as file:
        written = start
        while chunk := stream.read(CHUNK):
            file.write(chunk)
            written += len(chunk)
            if progress:
                progress(written, entry.size)


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
            f"{entry.name}: download stopped at {size} of {entry.size} bytes; run the command again to go on"
        )
    digest = sha256_of(part)
    if size != entry.size or digest != entry.sha256:
        part.unlink()
        raise WeightsError(
            f"{entry.name}: {entry.url} is not the published file ({size} bytes, SHA-256 {digest}; expected {entry.size} bytes, "
            f"{entry.sha256}); what was downloaded has been removed"
        )
    part.replace(target)
    return target

"""Folders of weights: found, summed, checked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from sftrl_lite.files import ROOT

SUMS = "SHA256SUMS"


def write_sums(folder: Path) -> None:
    """Write the SHA-256 of every file in ``folder`` beside them, for ``check_sums``."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.name not in (SUMS, "README.md"))
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in files]
    (folder / SUMS).write_text("".join(lines))


def check_sums(folder: Path) -> None:
    """Compare a shipped folder with its SHA256SUMS.

    Raises:
        FileNotFoundError: the folder, its sums or a listed file is missing.
        ValueError: a file is not the one that was shipped.
    """
    if not (folder / SUMS).is_file():
        raise FileNotFoundError(f"{folder}: no checkpoint here ({SUMS} is missing)")
    for line in (folder / SUMS).read_text().splitlines():
        digest, name = line.split(maxsplit=1)
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing; `git checkout {folder.name}`")
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise ValueError(
                f"{folder / name} is damaged or changed (SHA-256 differs); "
                f"restore it with git checkout"
            )


def fingerprint(folder: Path) -> str:
    """Eight characters that change with any file of a shipped folder; "" without its sums."""
    sums = folder / SUMS
    return hashlib.sha256(sums.read_bytes()).hexdigest()[:8] if sums.is_file() else ""


def check_shards(folder: Path) -> None:
    """Look at a downloaded folder before it is loaded: are all weights there, and whole?

    Raises:
        FileNotFoundError: no configuration, no weights, or one of several weight files.
        ValueError: a weight file is cut off.
    """
    index, names = folder / "model.safetensors.index.json", ["model.safetensors"]
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder}: no checkpoint here (config.json is missing)")
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    for name in names:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing; the download is not complete")
        try:
            with safe_open(folder / name, "pt"):
                pass
        except SafetensorError as error:
            raise ValueError(
                f"{folder / name} is cut off or damaged ({error}); delete it, download it again"
            ) from None


def find(base: str | Path) -> Path | None:
    """The folder that ``base`` names, seen from here or from the repository; None for an id."""
    return next((folder for folder in (Path(base), ROOT / base) if folder.is_dir()), None)

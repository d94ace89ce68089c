"""Folders of weights: found, summed, checked."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from sftrl_lite.files import ROOT, sha256

SUMS = "SHA256SUMS"
NOTES = {".md"}  # files with these ends are for people: no sums
MOST = 2**27  # bytes of a JSON file in a model's folder; a tokenizer of 256,000 tokens has 2**25


def write_sums(folder: Path) -> None:
    """Write the SHA-256 of every file in ``folder`` beside them, for ``check_sums``."""
    lines = [f"{sha256(folder / name)}  {name}\n" for name in summed(folder)]
    (folder / SUMS).write_text("".join(lines), "utf-8", newline="")


def summed(folder: Path) -> list[str]:
    """The files that have a sum: all but the sums themselves and what people write about them."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in NOTES)
    names = (path.relative_to(folder).as_posix() for path in files)
    return sorted(name for name in names if name != SUMS and not name.startswith("."))


def check_sums(folder: Path, advice: str = "") -> None:
    """Compare a folder with its SHA256SUMS.

    Args:
        advice: what to do about a folder that is damaged; if empty, what is usual.

    Raises:
        FileNotFoundError: the folder, its sums or a listed file is missing.
        ValueError: a file is not the one that was saved, or the sums do not list it.
    """
    sums = folder / SUMS
    shipped = folder.resolve().is_relative_to(ROOT / "data")
    usual = "restore it with git checkout" if shipped else f"delete {folder} and make it again"
    if not sums.is_file():
        wrong = f"{folder}: no checkpoint here ({SUMS} is missing)"
        raise FileNotFoundError(f"{wrong}; {advice}" if advice else wrong)
    advice = advice or usual
    lines = sums.read_text("utf-8", "replace").split("\n")[:-1]
    listed = {name: found for found, _, name in (line.partition("  ") for line in lines)}
    there = set(summed(folder))
    if not listed or not all(re.fullmatch(r"[0-9a-f]{64}", found) for found in listed.values()):
        raise ValueError(f"{sums} is damaged: not a list of sums and names; {advice}")
    for name, found in listed.items():
        if name not in there:  # nothing outside the folder is looked at
            raise FileNotFoundError(f"{folder / name} is missing; {advice}")
        if sha256(folder / name) != found:
            raise ValueError(f"{folder / name} is damaged or changed (SHA-256 differs); {advice}")
    if more := sorted(there - listed.keys()):
        raise ValueError(f"{folder / more[0]} is not listed in {SUMS}; move it away, or {advice}")


def fingerprint(folder: Path, kind: str = "") -> str:
    """Eight characters that change with any file of a folder; "" without its sums.

    Args:
        kind: how the names of the files end that count; empty: all. A configuration names the
            version of the library that wrote it, weights do not.
    """
    if not (folder / SUMS).is_file():
        return ""
    lines = (folder / SUMS).read_bytes().splitlines(keepends=True)
    counted = [line for line in lines if line.rstrip().endswith(kind.encode())]
    return hashlib.sha256(b"".join(counted)).hexdigest()[:8]


def check_shards(folder: Path) -> None:
    """Look at a downloaded folder before it is loaded: are all weights there, and whole?

    Raises:
        FileNotFoundError: no configuration, no weights, or one of several weight files.
        ValueError: a weight file is cut off, or a JSON file is damaged.
    """
    index, names = folder / "model.safetensors.index.json", ["model.safetensors"]
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder}: no checkpoint here (config.json is missing)")
    for path in sorted(folder.glob("*.json")):
        read_object(path)
    if index.is_file():
        shards = read_object(index).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise ValueError(f"{index} is damaged (no weight_map); download it again")
        names = sorted({str(name) for name in shards.values()})
    for name in names:
        if not re.fullmatch(r"[\w-][\w.-]*\.safetensors", name):
            raise ValueError(f"{index} is damaged ({name[:60]!r} is no weight file of its folder)")
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing; the download is not complete")
        try:
            with safe_open(folder / name, "pt"):
                pass
        except SafetensorError as error:
            raise ValueError(
                f"{folder / name} is cut off or damaged ({error}); delete it, download it again"
            ) from None


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, or something else; the line names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    if path.stat().st_size > MOST:
        raise ValueError(f"{path} is damaged: it is larger than {MOST >> 20} MiB")
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is damaged: not a JSON object")
    return found


def find(base: str | Path) -> Path | None:
    """The folder that ``base`` names, seen from here or from the repository; None for an id."""
    return next((folder for folder in (Path(base), ROOT / base) if folder.is_dir()), None)

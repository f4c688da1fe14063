"""Programs of Debian packages: from the PATH, or out of the package without installing it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

DOWNLOAD_SECONDS = 300


def program(name: str, *packages: str, folder: Path) -> Path:
    """Where the program is. `folder` is for the packages, if they have to be fetched."""
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    place = folder / packages[0]
    if not place.exists():
        for package in packages:
            _unpack(_fetched(package, place / package), place / "root")
    return place / "root" / "usr/bin" / name


def libraries(program: Path) -> str:
    """The folders of libraries that came with a fetched program, for LD_LIBRARY_PATH."""
    root = program.parents[2]
    if root == Path("/"):
        return ""
    return os.pathsep.join({str(path.parent) for path in root.rglob("lib*.so*")})


def _fetched(package: str, folder: Path) -> Path:
    """The package's file. Raises CalledProcessError when the registry has none."""
    folder.mkdir(parents=True)
    if _apt(folder, "download", package).returncode != 0:  # this machine has no list of packages
        lists = _lists_of_its_own(folder)
        _apt(folder, *lists, "update").check_returncode()
        _apt(folder, *lists, "download", package).check_returncode()
    (file,) = folder.glob("*.deb")
    return file


def _apt(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = ("apt-get", "--quiet", *arguments)
    return subprocess.run(command, cwd=folder, check=False, timeout=DOWNLOAD_SECONDS)


def _lists_of_its_own(folder: Path) -> tuple[str, ...]:
    """Options with which apt writes nowhere else."""
    for place in ("state/lists/partial", "cache/archives/partial"):
        (folder / place).mkdir(parents=True)
    state, cache = folder / "state", folder / "cache"
    return (
        "-o", f"Dir::State={state}", "-o", f"Dir::Cache={cache}", "-o", "Debug::NoLocking=1",
        "-o", "APT::Sandbox::User=",
    )  # fmt: skip


def _unpack(file: Path, folder: Path) -> None:
    subprocess.run(("dpkg-deb", "--extract", file, folder), check=True, timeout=60)

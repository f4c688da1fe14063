"""The steps of the Dockerfile without a container engine: a folder stands for the root.

What is run is what the Dockerfile says, with the paths that it makes put under the folder. Making
a user is left out: the numbers of `USER` need no name.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from dockerfile_parse import DockerfileParser

from tests.deploy.files import DOCKERFILE, ROOT
from tests.patience import PATIENCE

OURS = re.compile(r"(?<![\w.])/(?=(?:src|wheels|opt/agent-hub|var/lib)\b)")
"""Where the Dockerfile puts things; everything else is the system's own."""
LEFT_OUT = ("groupadd", "useradd")
NOT_PYTHON = ("test", "config-*", "site-packages", "__pycache__", "*.a", "share", "include")
OTHERS = 0o005


class Image:
    """What the last stage left behind, and how it is to be run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment: dict[str, str] = {}
        self.user = 0
        self.folder = root
        self.command: list[str] = []
        self.health: list[str] = []
        self._parameters: list[str] = []
        self._stage = -1
        self._system = {
            "PATH": f"{_python_for_all(root)}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "LD_LIBRARY_PATH": str(root / "usr/local/lib"),
            "LANG": "C.UTF-8",
        }
        # How the machine's own pip reaches its index.
        self._network = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("PIP_", "SSL_", "REQUESTS_")) or name.lower().endswith("_proxy")
        }

    @property
    def state(self) -> Path:
        return self.root / "var/lib/agent-hub"

    def build(self) -> None:
        """Carry out every instruction of both stages."""
        for line in DockerfileParser(str(DOCKERFILE), cache_content=True).structure:
            step = getattr(self, f"_{line['instruction'].lower()}", None)
            if step is not None:
                step(line["value"])

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """The container's program, as its user; other arguments than its own if there are any."""
        return self.open(*self.command, *(arguments or self._parameters), **variables)

    def open(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """Another program in its place, as the image's user."""
        return self._open([*command], variables)

    def ask_health(self, **variables: str) -> int:
        with self._open(self.health, variables) as check:
            check.communicate(timeout=PATIENCE)
            return int(check.returncode)

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Another program in the container, as its user."""
        with self._open([*command], variables) as process:
            out, err = process.communicate(timeout=PATIENCE)
            return subprocess.CompletedProcess(command, process.returncode, out, err)

    def _open(self, command: list[str], variables: dict[str, str]) -> subprocess.Popen[str]:
        is_root = os.getuid() == 0
        environment = {**self._system, **self.environment, **variables}
        # Looked up here: the search is the caller's, not the container's.
        program = shutil.which(command[0], path=environment["PATH"])
        assert program is not None, f"{command[0]} is not in the image"
        return subprocess.Popen(
            [program, *command[1:]],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            user=self.user if is_root else None,
            group=self.user if is_root else None,
            extra_groups=[] if is_root else None,
        )

    # --- the instructions -----------------------------------------------------------------

    def _place(self, path: str) -> Path:
        place = path if path.startswith("/") else f"{self.folder.relative_to(self.root)}/{path}"
        return self.root / place.lstrip("/")

    def _from(self, value: str) -> None:
        self._stage += 1
        self.folder, self.environment = self.root, {}

    def _workdir(self, value: str) -> None:
        self.folder = self._place(value)
        self.folder.mkdir(parents=True, exist_ok=True)

    def _copy(self, value: str) -> None:
        if value.startswith("--from="):  # one root for both stages: it is there already
            _, source, target = value.split()
            assert source == target
            assert self._place(target).exists()
            return
        *sources, target = value.split()
        for source in sources:
            self._copy_one(ROOT / source, self._place(target))

    def _copy_one(self, source: Path, target: Path) -> None:
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.py[cod]")
            shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)

    def _run(self, value: str) -> None:
        steps = [step.strip() for step in self._here(value).split("&&")]
        command = " && ".join(step for step in steps if not step.startswith(LEFT_OUT))
        if os.getuid() != 0:  # whoever runs this is the image's user already
            command = re.sub(r"--(owner|group) \d+", "", command)
        environment = {**self._system, **self._network, "HOME": str(self.root)}
        done = subprocess.run(
            ["/bin/sh", "-ec", command],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def _env(self, value: str) -> None:
        for pair in shlex.split(value):
            name, _, text = pair.partition("=")
            self.environment[name] = self._here(text).replace("$PATH", self._system["PATH"])

    def _user(self, value: str) -> None:
        self.user = int(value.partition(":")[0])

    def _healthcheck(self, value: str) -> None:
        self.health = json.loads(value.partition("CMD")[2])

    def _entrypoint(self, value: str) -> None:
        self.command = json.loads(value)

    def _cmd(self, value: str) -> None:
        self._parameters = json.loads(value)

    def _here(self, text: str) -> str:
        """The same with our paths under the root."""
        return OURS.sub(f"{self.root}/", text)


def _python_for_all(root: Path) -> Path:
    """A folder with a `python` that any user may run, as the base image has one."""
    interpreter = Path(sys.executable).resolve()
    place = root / "usr/local"
    (place / "bin").mkdir(parents=True)
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if all(parent.stat().st_mode & OTHERS == OTHERS for parent in interpreter.parents):
        (place / "bin" / "python").symlink_to(interpreter)
        return place / "bin"
    shutil.copy(interpreter, place / "bin" / name)
    (place / "bin" / "python").symlink_to(name)
    lib = Path(sys.base_prefix) / "lib"
    skipped = shutil.ignore_patterns(*NOT_PYTHON)
    shutil.copytree(lib / name, place / "lib" / name, ignore=skipped)
    for library in lib.glob("libpython*.so*"):
        shutil.copy(library, place / "lib", follow_symlinks=False)
    for packages in ("pip", "setuptools"):
        for found in (lib / name / "site-packages").glob(f"{packages}*"):
            _copy_package(found, place / "lib" / name / "site-packages")
    return place / "bin"


def _copy_package(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, folder)


@contextmanager
def built_image() -> Iterator[Image]:
    """The image, its root read-only but for the state; gone afterwards."""
    # Not pytest's own folder, which nobody but its owner may enter.
    root = Path(mkdtemp(prefix="agent-hub-image-")).resolve()
    root.chmod(0o755)
    try:
        image = Image(root)
        image.build()
        _forbid_writing(root, image.state)
        yield image
    finally:
        _allow_writing(root)
        shutil.rmtree(root)


def _forbid_writing(root: Path, but: Path) -> None:
    for path in [root, *root.rglob("*")]:
        if but not in (path, *path.parents) and not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)


def _allow_writing(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)

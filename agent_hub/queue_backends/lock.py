"""One hub for each file: a lock that the system lets go when its process ends, however it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from agent_hub.core.errors import BackendUnavailable

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def in_use(store: Path) -> str:
    return f"{store} is in use by another hub"


class FileLock:
    """The file beside a store. It stays when the lock is let go: removing it would be a race."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._path = store.with_name(store.name + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises BackendUnavailable at once when another process has it, OSError when a file
        there cannot be locked.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor)
        except (BlockingIOError, PermissionError):  # the second is how Windows says it
            os.close(descriptor)
            raise BackendUnavailable(in_use(self._store)) from None
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    @property
    def is_held_elsewhere(self) -> bool:
        """Whether another process has it now; False also when that cannot be seen."""
        try:
            if self._path.exists():
                self.acquire()
        except BackendUnavailable:
            return True
        except OSError:
            return False
        self.release()
        return False

    def release(self) -> None:
        """Releasing twice is fine."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

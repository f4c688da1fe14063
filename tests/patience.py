"""How long a test waits for what must happen, before it says that it does not."""

from __future__ import annotations

PATIENCE = 60.0
"""Real seconds. Nothing waits for it that goes well; a busy machine may take that long."""

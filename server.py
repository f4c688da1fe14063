"""Start the hub: `python server.py`, with the flags of `agent-hub serve`."""

import sys

from agent_hub.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m agent_hub`."""

import sys

from agent_hub.cli import main

if __name__ == "__main__":
    sys.exit(main())

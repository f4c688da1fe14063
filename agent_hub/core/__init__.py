"""Every rule of the hub, free of I/O: what a door calls and what a backend must keep."""

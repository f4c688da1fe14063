"""The terminal client: talking through a hub by shell commands."""

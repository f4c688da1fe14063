"""Clients from the registries, as their users install them, against the hub."""

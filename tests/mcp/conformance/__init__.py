"""The protocol's own conformance suite, against the hub and against its transport alone."""

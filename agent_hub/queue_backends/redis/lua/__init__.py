"""The transitions of the Redis store, one script each, and how they are read."""

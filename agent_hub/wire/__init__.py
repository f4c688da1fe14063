"""JSON on one side, core types on the other; the shapes here are the public contract."""

"""Load from processes of its own, which outlive the hubs that a test kills.

Each process writes what it saw with its own eyes into a file of JSON lines, one by one, before it
goes on; `records.py` says which. When all is over, `checker.py` compares the files.
"""

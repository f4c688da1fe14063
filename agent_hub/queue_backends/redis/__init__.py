"""Queues in Redis: one script for each transition, in the slot of one inbox."""

"""The stores of queues, all under the one promise of `core.queue_backend`."""

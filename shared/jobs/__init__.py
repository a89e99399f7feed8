"""Jobs: rows, states and queues, the Celery app, publishing, typed requests."""

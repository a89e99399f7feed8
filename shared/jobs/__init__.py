"""Jobs: rows and states, routing, the Celery app, publishing, typed requests."""

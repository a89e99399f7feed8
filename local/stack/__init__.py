"""The local stack under supervisord."""

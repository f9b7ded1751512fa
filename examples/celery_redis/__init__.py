"""A shop's tasks on Celery, with Redis as the broker."""

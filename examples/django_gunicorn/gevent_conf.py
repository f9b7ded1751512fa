"""gunicorn's settings for gevent's workers: gunicorn -c django_gunicorn/gevent_conf.py ..."""

from __future__ import annotations

from gevent import monkey

# Before the application is loaded. By itself gunicorn patches in each worker, which with
# preload_app is after it: Django's connections to the database would be shared by greenlets.
monkey.patch_all()

worker_class = "gevent"
preload_app = True

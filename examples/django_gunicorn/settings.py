"""The settings: Django's, and Sentry's."""

from __future__ import annotations

import os
from pathlib import Path

import sentry_sdk

from sentry_segment import SegmentIntegration

sentry_sdk.init(  # the DSN is taken from SENTRY_DSN, the write key from SEGMENT_WRITE_KEY
    release="shop@1.4.2",
    send_default_pii=True,  # else Django's user would not be told to Sentry
    integrations=[
        SegmentIntegration(anonymous=True, spool=os.environ.get("SEGMENT_SPOOL")),
    ],
)

SECRET_KEY = os.environ["SHOP_SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "django_gunicorn.urls"
WSGI_APPLICATION = "django_gunicorn.wsgi.application"
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/account"

INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
MIDDLEWARE = [
    "django_gunicorn.visitors.who_is_it",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", "shop.sqlite3"),
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True

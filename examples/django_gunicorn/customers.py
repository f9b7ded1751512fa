"""Sets up the database, with some customers: python -m django_gunicorn.customers ann ben

Their password is taken from SHOP_PASSWORD. Printed are the ids that they get.
"""

from __future__ import annotations

import os
import sys

import django
from django.contrib.auth.hashers import make_password
from django.core.management import call_command


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_gunicorn.settings")
    django.setup()
    call_command("migrate", verbosity=0)

    from django.contrib.auth.models import User  # there only after the set-up

    password = make_password(os.environ["SHOP_PASSWORD"])
    for name in sys.argv[1:]:
        print(name, User.objects.create(username=name, password=password).pk)


if __name__ == "__main__":
    main()

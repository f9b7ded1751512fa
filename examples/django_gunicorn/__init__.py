"""A shop in Django, whose customers log in."""

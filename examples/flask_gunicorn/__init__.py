"""A shop in Flask, whose customers log in."""

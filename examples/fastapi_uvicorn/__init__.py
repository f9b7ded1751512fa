"""A shop in FastAPI, whose customers send their password with each request."""

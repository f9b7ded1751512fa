"""A Google Cloud Function."""

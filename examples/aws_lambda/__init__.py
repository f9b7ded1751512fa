"""A function on AWS Lambda."""

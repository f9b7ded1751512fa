"""A script that cron runs."""

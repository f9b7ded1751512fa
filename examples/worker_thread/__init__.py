"""Threads that work in the background of a program."""

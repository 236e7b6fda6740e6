"""Measurements: each number is a line of JSON, with the machine and the revision beside it."""

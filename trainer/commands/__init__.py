"""The verbs of `python -m trainer`."""

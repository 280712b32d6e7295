"""The verbs of `python -m engine`, one file each: add_parser() and run().

Nothing heavy is imported before a verb runs, so that --help answers at once.
"""

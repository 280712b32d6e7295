"""Batches: a file of jobs becomes keyed armatures and exported motion, without a window.

jobs_file reads and checks the file, runner does the jobs, record finds those that are done
already, report tells each in a line of JSON, command is what people and pipelines type.
"""

"""The engine: a library of motion models, and the process that serves them to Blender."""

__version__ = "0.1.0"

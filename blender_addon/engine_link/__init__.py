"""The add-on's half of the link to the engine: no bpy, no thread, nothing that blocks."""

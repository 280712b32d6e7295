"""Marey: motion from text, keyed on your armature.

No bpy at module level: the engine and the tests import blender_addon.protocol in plain
Python. Blender itself calls register() and unregister().
"""

from __future__ import annotations


def register() -> None:
    """Called by Blender when the extension is switched on."""
    from . import registration

    registration.register()


def unregister() -> None:
    """Called by Blender when the extension is switched off."""
    from . import registration

    registration.unregister()

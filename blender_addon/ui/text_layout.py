"""Texts in a sidebar, over as many lines as its width needs."""

from __future__ import annotations

import re
import textwrap

import bpy
from bpy.app.translations import pgettext_iface as iface_

_PIXELS_PER_LETTER = 7.0
_LOG = re.compile(r" \(log: .*?\.log\)")


def width_of(context: bpy.types.Context) -> float:
    """Width of the region at UI scale 1, in pixels."""
    scale = context.preferences.system.ui_scale
    return context.region.width / scale if context.region is not None else 200.0


def without_log(text: str) -> str:
    """A message without the path of a log: a sidebar has a button for it, and no room."""
    return _LOG.sub("", text)


def draw_text(
    layout: bpy.types.UILayout, context: bpy.types.Context, text: str, *, icon: str = "NONE"
) -> None:
    """A text, translated, over as many lines as the sidebar's width needs."""
    column = layout.column(align=True)
    column.scale_y = 0.8
    letters = int((width_of(context) - (40 if icon == "NONE" else 62)) / _PIXELS_PER_LETTER)
    for number, line in enumerate(textwrap.wrap(iface_(text), max(20, letters))):
        if icon == "NONE":
            column.label(text=line, translate=False)
        else:
            column.label(text=line, icon="BLANK1" if number else icon, translate=False)

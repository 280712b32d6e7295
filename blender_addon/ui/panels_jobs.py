"""The panel of jobs."""

from __future__ import annotations

import bpy

from ..engine_link import session
from .jobs_layout import draw_jobs
from .panels import SidebarPanel


class MOTION_PT_jobs(SidebarPanel, bpy.types.Panel):
    """What has been asked for, the latest first."""

    bl_label = "Jobs"
    bl_order = 2

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return len(session.jobs) > 0

    def draw(self, context: bpy.types.Context) -> None:
        draw_jobs(self.layout, context)

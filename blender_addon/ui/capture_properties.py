"""Scene settings of capture: what the next Capture asks for. Saved with the file."""

from __future__ import annotations

import bpy


class MOTION_PG_pick(bpy.types.PropertyGroup):
    """Who was picked in a strip: one of scene.motion_capture.picks; its name is the strip's."""

    frame: bpy.props.IntProperty(description="Frame of the movie in which the place is")
    x: bpy.props.FloatProperty(description="From the picture's left, in shares of its width")
    y: bpy.props.FloatProperty(description="From the picture's top, in shares of its height")
    path: bpy.props.StringProperty(description="The movie that the frame is of")


class MOTION_PG_capture(bpy.types.PropertyGroup):
    """scene.motion_capture"""

    armature: bpy.props.PointerProperty(
        name="Target",
        description="The armature that gets the motion. Empty: the active object",
        type=bpy.types.Object,
        poll=lambda self, candidate: candidate.type == "ARMATURE",
    )
    follow: bpy.props.EnumProperty(
        name="Follow",
        description="Whose motion it is, where the movie shows several people",
        items=(
            ("LARGEST", "Largest", "The person who is largest in the picture"),
            ("PICKED", "Picked", "The person who was picked in each strip"),
            ("NUMBER", "By Number", "One of the people, in the order in which they appear"),
        ),
    )
    person: bpy.props.IntProperty(
        name="Person",
        description="0 is the one who appears first",
        default=0,
        min=0,
        max=1000,
        soft_max=20,
    )
    picks: bpy.props.CollectionProperty(type=MOTION_PG_pick)
    lifter: bpy.props.StringProperty(
        name="Model",
        description="The model that makes poses from what is seen. Empty: the engine's default",
    )
    prior: bpy.props.StringProperty(
        name="Refine With",
        description="Another model that makes the motion more likely. Empty: none",
    )
    prompt: bpy.props.StringProperty(
        name="Words",
        description="What the person does, in English; it helps the model that refines. Optional",
    )
    camera: bpy.props.BoolProperty(
        name="Matching Camera",
        description=(
            "Make a camera that sees the character where the movie shows the person, with the "
            "movie as its background"
        ),
    )


def pick_of(settings: MOTION_PG_capture, strip_name: str, path: str) -> MOTION_PG_pick | None:
    """Who was picked in a strip, as long as it shows the same movie."""
    pick = settings.picks.get(strip_name)
    return pick if pick is not None and pick.path == path else None


def set_pick(
    settings: MOTION_PG_capture, strip_name: str, path: str, place: tuple[int, float, float]
) -> None:
    """Pick who is at a place of a strip's movie: frame, and shares of width and height."""
    pick = settings.picks.get(strip_name)
    if pick is None:
        pick = settings.picks.add()
        pick.name = strip_name
    pick.path = path
    pick.frame, pick.x, pick.y = place
    settings.follow = "PICKED"

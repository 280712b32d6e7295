"""Scene settings: what the next Generate asks for. Saved with the file."""

from __future__ import annotations

import bpy

from ..scene import pump
from . import prompts

MAX_SEED = 2**31 - 1  # Blender's integer properties have 32 bits
MAX_COUNT = 8


def _lock_seed(settings: MOTION_PG_settings, _context: bpy.types.Context) -> None:
    """Whoever chooses a seed wants to have it."""
    settings.lock_seed = True


def _rows_changed(_settings: MOTION_PG_settings, _context: bpy.types.Context) -> None:
    """The panel has other rows now: those below find their places when it is drawn once more."""
    pump.redraw_soon()


def _matching_prompts(
    _owner: bpy.types.PropertyGroup, context: bpy.types.Context, edit_text: str
) -> list[str]:
    return prompts.matching(edit_text, context.scene.motion.model)


class MOTION_PG_later_prompt(bpy.types.PropertyGroup):
    """One of scene.motion.then"""

    prompt: bpy.props.StringProperty(
        name="Then",
        description="What the character does next, in English",
        search=_matching_prompts,
        search_options={"SUGGESTION"},
        options={"TEXTEDIT_UPDATE"},
    )
    seconds: bpy.props.FloatProperty(
        name="Length",
        description="How long it does that, in seconds",
        default=3.0,
        min=0.5,
        max=60.0,
        soft_max=10.0,
        step=50,
        precision=1,
        subtype="TIME_ABSOLUTE",
    )


class MOTION_PG_settings(bpy.types.PropertyGroup):
    """scene.motion"""

    prompt: bpy.props.StringProperty(
        name="Prompt",
        description="What the character does, in English",
        default="a person walks forward and waves",
        search=_matching_prompts,
        search_options={"SUGGESTION"},
        options={"TEXTEDIT_UPDATE"},
    )
    then: bpy.props.CollectionProperty(type=MOTION_PG_later_prompt)
    length: bpy.props.EnumProperty(
        name="Length",
        description="How long the motion is",
        items=(
            ("SECONDS", "Seconds", "As many seconds as you say"),
            ("SCENE", "To End", "From where it begins to the end of the scene's range"),
        ),
        update=_rows_changed,
    )
    seconds: bpy.props.FloatProperty(
        name="Length",
        description="Length of the motion in seconds; of its first prompt, where it has several",
        default=6.0,
        min=1.0,
        max=60.0,
        soft_max=10.0,
        step=50,
        precision=1,
        subtype="TIME_ABSOLUTE",
    )
    begin: bpy.props.EnumProperty(
        name="Begin",
        description="Where the motion begins",
        items=(
            ("PLAYHEAD", "Playhead", "At the current frame"),
            ("MARKER", "Marker", "At a marker of the timeline"),
        ),
        update=_rows_changed,
    )
    marker: bpy.props.StringProperty(
        name="Marker", description="The marker of the timeline at which the motion begins"
    )
    count: bpy.props.IntProperty(
        name="Candidates",
        description="So many motions are made at once, for you to choose from",
        default=1,
        min=1,
        max=MAX_COUNT,
    )
    seed: bpy.props.IntProperty(
        name="Seed",
        description="The same seed and prompt give the same motion; another seed, another take",
        default=0,
        min=0,
        max=MAX_SEED,
        update=_lock_seed,
    )
    lock_seed: bpy.props.BoolProperty(
        name="Keep Seed",
        description="Use this seed each time. Off: every press gives other motions",
    )
    loop: bpy.props.BoolProperty(
        name="Loop",
        description="End in the pose that it begins with, so that it can go on for ever",
    )
    repeat: bpy.props.BoolProperty(
        name="Repeat",
        description=(
            "Let the curves go on after the end of the loop; the character gets further each time"
        ),
        default=True,
    )
    keep_as: bpy.props.EnumProperty(
        name="Keep As",
        description="What an accepted motion becomes",
        items=(
            ("ACTION", "Action", "The character's action. The one before stays in the file"),
            ("STRIP", "NLA Strip", "A strip on a new track that begins at the current frame"),
        ),
        update=_rows_changed,
    )
    strip_per_prompt: bpy.props.BoolProperty(
        name="Strip for Each Prompt",
        description="Where a motion has several prompts, make a strip and an action for each",
        default=True,
    )
    model: bpy.props.StringProperty(
        name="Model",
        description="The model that makes the motion. Empty: the engine's default",
    )
    num_steps: bpy.props.IntProperty(
        name="Steps",
        description="Denoising steps: more are slower and smoother. 0: the model's default",
        default=0,
        min=0,
        max=1000,
        soft_max=100,
    )
    guidance_scale: bpy.props.FloatProperty(
        name="Guidance",
        description="How closely to follow the prompt. 1: loosely; 0: the model's default",
        default=0.0,
        min=0.0,
        max=20.0,
        soft_max=8.0,
        step=10,
        precision=1,
    )


def later_prompts(settings: MOTION_PG_settings) -> list[MOTION_PG_later_prompt]:
    """The prompts after the first, those without words left out."""
    return [part for part in settings.then if part.prompt.strip()]


def scene_fps(scene: bpy.types.Scene) -> float:
    """Frames per second of the scene, 23.976 and its like included."""
    return scene.render.fps / scene.render.fps_base


def scene_end(scene: bpy.types.Scene) -> int:
    """The last frame that is played."""
    return scene.frame_preview_end if scene.use_preview_range else scene.frame_end

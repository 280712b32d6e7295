"""Scene settings: what the next Generate asks for. Saved with the file."""

from __future__ import annotations

import bpy

MAX_SEED = 2**31 - 1  # Blender's integer properties have 32 bits


class MOTION_PG_settings(bpy.types.PropertyGroup):
    """scene.motion"""

    prompt: bpy.props.StringProperty(
        name="Prompt",
        description="What the character does, in English",
        default="a person walks forward and waves",
        options={"TEXTEDIT_UPDATE"},
    )
    seconds: bpy.props.FloatProperty(
        name="Length",
        description="Length of the motion in seconds",
        default=6.0,
        min=1.0,
        max=60.0,
        soft_max=10.0,
        step=50,
        precision=1,
        subtype="TIME_ABSOLUTE",
    )
    seed: bpy.props.IntProperty(
        name="Seed",
        description="The same seed and prompt give the same motion; another seed, another take",
        default=0,
        min=0,
        max=MAX_SEED,
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


def num_frames(scene: bpy.types.Scene) -> int:
    """Frames of the scene that the motion lasts."""
    return max(1, round(scene.motion.seconds * scene_fps(scene)))


def scene_fps(scene: bpy.types.Scene) -> float:
    """Frames per second of the scene, 23.976 and its like included."""
    return scene.render.fps / scene.render.fps_base

"""How tall a captured person is: one camera can't tell, so everybody is as tall as our skeleton.

The fit of bones to keypoints keeps their mean ratio, in which a collar counts as much as a thigh:
somebody with narrow shoulders would get long legs, and so too long a way. Stature is what people
differ least in beside their size in the picture, and what an artist would think of first.
"""

from __future__ import annotations

from dataclasses import replace

from engine.motion.motion import Motion
from engine.motion.skeleton import HEAD, SMPL_22, Skeleton


def stature(skeleton: Skeleton) -> float:
    """Height in metres of the head joint over the lowest joint, in the rest pose."""
    heights = [y for _, y, _ in skeleton.rest_joints()]
    return heights[HEAD] - min(heights)


def at_usual_stature(motion: Motion) -> Motion:
    """The motion and its camera, scaled together to the built-in skeleton's stature.

    What the camera sees stays exactly the same. Floor y = 0 stays where it is.

    Raises:
        ValueError: the skeleton isn't of the built-in tree, or has no height.
    """
    own = stature(motion.skeleton)
    if motion.skeleton.parents != SMPL_22.parents or own <= 0:
        raise ValueError("The motion needs the built-in tree and a height to be scaled")
    scale = stature(SMPL_22) / own
    offsets = motion.skeleton.rest_offsets
    # seven decimals: what a float32 file gives back
    scaled = tuple(
        (round(scale * x, 7), round(scale * y, 7), round(scale * z, 7)) for x, y, z in offsets
    )
    camera = motion.camera
    return replace(
        motion,
        skeleton=replace(motion.skeleton, rest_offsets=scaled),
        root_translation=scale * motion.root_translation,
        camera=None if camera is None else replace(camera, translation=scale * camera.translation),
    )

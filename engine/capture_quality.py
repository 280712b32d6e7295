"""How well a captured motion fits its footage, and what can be done where it doesn't."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.motion.contacts import foot_slide
from engine.motion.motion import Motion

_SURE = 0.5  # confidence of a keypoint that is measured against
# The joints whose shaking is measured: shoulders to wrists, hips to ankles.
_BODY = (1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20, 21)


@dataclass(frozen=True, kw_only=True)
class CaptureQuality:
    """Figures of one capture. Heights are the person's in the picture."""

    reprojection_error: float | None  # median distance of joints from keypoints, in heights
    seen_share: float  # of the frames between the first and the last in which the person is seen
    num_swaps: int  # times that left and right were exchanged by the detector
    slide_mm_per_frame: float  # of feet in contact
    contact_share: float  # of all frames of the four foot joints
    jitter: float | None  # mean acceleration of the motion in the picture, heights per frame²
    raw_jitter: float | None  # the same of the detector's keypoints


def measure(
    motion: Motion, keypoints: Tensor, *, raw: Tensor, num_swaps: int, seen_share: float
) -> CaptureQuality:
    """Measure a motion (T frames, with its camera) against keypoints (T, 22, 3) in image units.

    `raw` (T, 22, 3) are those of the detector, before anything was repaired.
    """
    assert motion.camera is not None
    joints = motion.joints()
    places = motion.camera.project(joints)[0]
    height = person_height(keypoints)
    body = list(_BODY)
    sure = keypoints[:, body, 2] > _SURE
    off = torch.linalg.vector_norm(places - keypoints[..., :2], dim=-1)[:, body] / height
    slide = foot_slide(joints, motion.contacts, motion.fps)
    return CaptureQuality(
        reprojection_error=float(off[sure].median()) if bool(sure.any()) else None,
        seen_share=seen_share,
        num_swaps=num_swaps,
        slide_mm_per_frame=1000 * slide.metres_per_frame,
        contact_share=slide.contact_share,
        jitter=_acceleration(places[:, body], raw[:, body, 2], height),
        raw_jitter=_acceleration(raw[:, body, :2], raw[:, body, 2], height),
    )


def person_height(keypoints: Tensor) -> float:
    """What sure keypoints (T, 22, 3) cover, in their units: the median over frames."""
    sure = keypoints[..., 2:] > _SURE
    low = torch.where(sure, keypoints[..., :2], torch.inf).amin(1)
    high = torch.where(sure, keypoints[..., :2], -torch.inf).amax(1)
    size = (high - low).amax(-1)
    size = size[torch.isfinite(size) & (size > 0)]
    return float(size.median()) if len(size) else 1.0


def advice(quality: CaptureQuality) -> tuple[str, ...]:
    """What is not as good as it could be, each with what can be done, in lines for the user."""
    told: list[str] = []
    if quality.seen_share < 0.9:
        told.append(
            f"The person is seen in {quality.seen_share:.0%} of the frames: the rest is made up. "
            "Choose a shorter part, or footage in which nothing hides them"
        )
    if quality.reprojection_error is not None and quality.reprojection_error > 0.03:
        told.append(
            f"The motion is {quality.reprojection_error:.1%} of the person's height off what the "
            "video shows: look at the overlay; a nearer or sharper picture helps"
        )
    if quality.num_swaps > 5:
        told.append(
            f"Left and right were exchanged {quality.num_swaps} times and put right: look at the "
            "legs where the person is seen from the side"
        )
    if quality.slide_mm_per_frame > 2:
        told.append(
            f"Standing feet slide by {quality.slide_mm_per_frame:.1f} mm a frame: foot locking on "
            "the rig holds them"
        )
    return tuple(told)


def advice_by_figure(quality: CaptureQuality) -> dict[str, str]:
    """What can be done about each figure that is not as good as it could be, by its name."""
    good = replace(
        quality, reprojection_error=0.0, seen_share=1.0, num_swaps=0, slide_mm_per_frame=0.0
    )
    found: dict[str, str] = {}
    for name in ("reprojection_error", "seen_share", "num_swaps", "slide_mm_per_frame"):
        lines = advice(replace(good, **{name: getattr(quality, name)}))
        if lines:
            found[name] = lines[0]
    return found


def _acceleration(places: Tensor, confidence: Tensor, height: float) -> float | None:
    """Mean length of the second difference of (T, K, 2), where all three frames are sure."""
    if len(places) < 3:
        return None
    sure = confidence > _SURE
    three = sure[2:] & sure[1:-1] & sure[:-2]
    if not bool(three.any()):
        return None
    second = torch.linalg.vector_norm(torch.diff(places, n=2, dim=0), dim=-1)
    return float(second[three].mean()) / height

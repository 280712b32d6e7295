"""What the points of a detector's layout are called, in its order."""

from __future__ import annotations


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


KEYPOINT_NAMES: dict[str, tuple[str, ...]] = {
    "blazepose_33": _names(
        "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye "
        "right_eye_outer left_ear right_ear mouth_left mouth_right left_shoulder "
        "right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
        "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip "
        "left_knee right_knee left_ankle right_ankle left_heel right_heel left_foot_index "
        "right_foot_index"
    ),
    "coco_17": _names(
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder "
        "left_elbow right_elbow left_wrist right_wrist left_hip right_hip left_knee "
        "right_knee left_ankle right_ankle"
    ),
    "body_25": _names(
        "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow "
        "left_wrist mid_hip right_hip right_knee right_ankle left_hip left_knee "
        "left_ankle right_eye left_eye right_ear left_ear left_big_toe left_small_toe "
        "left_heel right_big_toe right_small_toe right_heel"
    ),
    "halpe_26": _names(
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder "
        "left_elbow right_elbow left_wrist right_wrist left_hip right_hip left_knee "
        "right_knee left_ankle right_ankle head neck hip left_big_toe right_big_toe "
        "left_small_toe right_small_toe left_heel right_heel"
    ),
}

"""What the families of rigs have in common, to write each down in a few lines."""

from __future__ import annotations

from tests.blender_addon.rig.family_rigs import Family

PARTS = ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist")
LR, LR_LOWER = ("L", "R"), ("l", "r")
LEFT_RIGHT, LEFT_RIGHT_LOWER = ("Left", "Right"), ("left", "right")


def limbs(names: str, start: str = "", end: str = "") -> dict[str, str]:
    """Eight names in the order of PARTS; "-" for a bone that the family lacks."""
    found = dict(zip(PARTS, names.split(), strict=True))
    return {part: f"{start}{name}{end}" for part, name in found.items() if name != "-"}


def fingers(pattern: str, words: str = "Thumb Index Middle Ring Pinky") -> tuple[str, ...]:
    return tuple(pattern.replace("FINGER", word) for word in words.split())


MIXAMO_LIMBS = "UpLeg Leg Foot ToeBase Shoulder Arm ForeArm Hand"
BIOVISION_LIMBS = "Hip Knee Ankle Toe Collar Shoulder Elbow Wrist"
SMPL_LIMBS = "Hip Knee Ankle Foot Collar Shoulder Elbow Wrist"
UE_LIMBS = "thigh calf foot ball clavicle upperarm lowerarm hand"
VRM_LIMBS = "UpperLeg LowerLeg Foot Toes Shoulder UpperArm LowerArm Hand"
RIGIFY_LIMBS = "thigh shin foot toe shoulder upper_arm forearm hand"
UE_TWISTS = {
    "shoulder": ("upperarm_twist_01_{s}",),
    "elbow": ("lowerarm_twist_01_{s}",),
    "hip": ("thigh_twist_01_{s}",),
    "knee": ("calf_twist_01_{s}",),
}
UE5_TWISTS = {part: (names[0], names[0].replace("01", "02")) for part, names in UE_TWISTS.items()}
UE_IK = (
    ("ik_foot_root", "root", "ground"),
    ("ik_foot_{s}", "ik_foot_root", "ankle"),
    ("ik_hand_root", "root", "ground"),
    ("ik_hand_gun", "ik_hand_root", "right_wrist"),
    ("ik_hand_{s}", "ik_hand_gun", "wrist"),
)
UE_FINGERS = fingers("FINGER_0{n}_{s}", "thumb index middle ring pinky")


def mixamo(name: str, prefix: str = "", **more: object) -> Family:
    return Family(
        name=name,
        signs=LEFT_RIGHT,
        pelvis=f"{prefix}Hips",
        spine=tuple(prefix + bone for bone in ("Spine", "Spine1", "Spine2")),
        neck=(f"{prefix}Neck",),
        head=f"{prefix}Head",
        limbs=limbs(MIXAMO_LIMBS, prefix + "{s}"),
        fingers=fingers(prefix + "{s}HandFINGER{n}"),
        toe_ends=(prefix + "{s}Toe_End",),
        head_ends=(f"{prefix}HeadTop_End",),
        **more,
    )


def unreal(name: str, spine: int, neck: int, **more: object) -> Family:
    return Family(
        name=name,
        signs=LR_LOWER,
        pelvis="pelvis",
        spine=tuple(f"spine_0{n + 1}" for n in range(spine)),
        neck=tuple(f"neck_0{n + 1}" for n in range(neck)),
        head="head",
        limbs=limbs(UE_LIMBS, "", "_{s}"),
        roots=("root",),
        fingers=UE_FINGERS,
        **more,
    )


def rigify(name: str, prefix: str, **more: object) -> Family:
    return Family(
        name=name,
        signs=LR,
        pelvis=f"{prefix}spine",
        spine=tuple(f"{prefix}spine.00{n}" for n in (1, 2, 3)),
        neck=tuple(f"{prefix}spine.00{n}" for n in (4, 5)),
        head=f"{prefix}spine.006",
        limbs=limbs(RIGIFY_LIMBS, prefix, ".{s}"),
        fingers=fingers(prefix + "FINGER.0{n}.{s}", "thumb f_index f_middle f_ring f_pinky"),
        extras=((f"{prefix}breast.{{s}}", f"{prefix}spine.003", "breast"),),
        **more,
    )


def smpl(name: str, prefix: str, signs: tuple[str, str], **more: object) -> Family:
    lower = signs == LEFT_RIGHT_LOWER

    def word(text: str) -> str:
        return prefix + (text.lower() if lower else text)

    return Family(
        name=name,
        signs=signs,
        pelvis=word("Pelvis"),
        spine=tuple(word(f"Spine{n}") for n in (1, 2, 3)),
        neck=(word("Neck"),),
        head=word("Head"),
        limbs=limbs(SMPL_LIMBS.lower() if lower else SMPL_LIMBS, prefix + "{s}_"),
        **more,
    )


def biped(prefix: str, **more: object) -> Family:
    return Family(
        name="3ds Max Biped",
        signs=LR,
        pelvis=f"{prefix} Pelvis",
        spine=tuple(f"{prefix} {bone}" for bone in ("Spine", "Spine1", "Spine2")),
        neck=(f"{prefix} Neck",),
        head=f"{prefix} Head",
        limbs=limbs("Thigh Calf Foot Toe0 Clavicle UpperArm Forearm Hand", prefix + " {s} "),
        roots=(prefix,),
        fingers=tuple(f"{prefix} {{s}} Finger{n}{{n}}" for n in range(5)),
        toe_ends=(prefix + " {s} Toe0Nub",),
        head_ends=(f"{prefix} HeadNub",),
        **more,
    )


def mmd(name: str, text: str, signs: tuple[str, str], arms: str, **more: object) -> Family:
    """`text`: root, centre, lower body, three of the upper body, neck and head."""
    root, centre, lower, *spine, neck, head = text.split("|")
    return Family(
        name=name,
        signs=signs,
        pelvis=lower,
        spine=tuple(spine),
        neck=(neck,),
        head=head,
        limbs=dict(zip(PARTS, arms.split("|"), strict=True)),
        roots=(root, centre),
        spine_parent=centre,
        **more,
    )

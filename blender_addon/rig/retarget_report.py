"""How well a motion came onto a rig, in figures: for the panel, and for the action's provenance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class RetargetReport:
    """Figures of one retargeting.

    Lengths are for a body of 1.75 m, whatever the character's size; slide is per frame at 20 fps.
    """

    mapping: str  # of the rig family or of the user's mapping
    unmapped_joints: tuple[str, ...]  # of the motion, without a bone on the rig
    mean_direction_error: float  # degrees, of arms and legs against the motion's
    max_direction_error: float  # degrees, before feet are planted
    max_direction_bone: str
    planted_direction_error: float  # degrees, the largest, after feet are planted
    foot_slide_mm: float  # per frame while the motion's foot stands, the largest of ankle and toe
    mean_foot_slide_mm: float
    contact_share: float  # of the frames, mean of both ankles and both toes: 0 to 1
    penetration_mm: float  # of ankle or toe under their height at rest, the deepest
    hips_lowered_mm: float  # at most, so that both feet reach the floor
    body_height: float  # metres, of the character
    notes: tuple[str, ...] = ()  # what the user should know, one sentence each

    def to_dict(self) -> dict[str, Any]:
        """For JSON: figures to two digits after the point."""
        return {
            name: round(value, 2) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }

    def lines(self) -> tuple[str, ...]:
        """One line each for the panel, most important first."""
        lines = [
            f"Rig: {self.mapping}",
            f"Limbs within {self.max_direction_error:.1f}° (mean {self.mean_direction_error:.1f}°)",
        ]
        if self.contact_share > 0:
            lines.append(
                f"Feet slide {self.foot_slide_mm:.1f} mm per frame at most, "
                f"standing {100 * self.contact_share:.0f} % of the time"
            )
        else:
            lines.append("Feet never stand in this motion")
        if self.penetration_mm >= 1.0:
            lines.append(f"Feet go {self.penetration_mm:.0f} mm into the floor")
        if self.unmapped_joints:
            lines.append(f"Without a bone: {', '.join(self.unmapped_joints)}")
        return (*lines, *self.notes)

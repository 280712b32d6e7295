"""What methods that make motion from words share: lengths, features to motion, words about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.checkpoint import CheckpointInfo
from engine.methods.base import Prompt, PromptSequence, RequestError, SampleOptions
from engine.motion.foot_lock import lock_feet, place_on_floor
from engine.motion.loops import middle_round
from engine.motion.motion import Motion
from engine.motion.pose_solve import solve_local_rotations
from engine.motion.representation import Representation

MIN_FRAMES = 20  # a shorter motion is cut out of one of this length
FAR_COSINE = 0.45  # below this similarity to every learned caption a prompt is called far


@dataclass(frozen=True, kw_only=True)
class Script:
    """What one motion is sampled from."""

    prompts: tuple[str, ...]
    part_frames: tuple[int, ...]
    loop: bool = False
    first_text: int = 0  # where its prompts begin among those of the batch

    @classmethod
    def of(cls, condition: Prompt | PromptSequence, options: SampleOptions) -> Script:
        """Lengths as they are sampled: never shorter than what was learned, a loop one period.

        Raises:
            RequestError: a loop is too short, or the parts don't sum up to the motion.
        """
        period = options.num_frames - options.loop
        if options.loop and period < MIN_FRAMES:
            raise RequestError(
                f"A loop of {options.num_frames} frames is too short, "
                f"needs {MIN_FRAMES + 1} or more"
            )
        if isinstance(condition, Prompt):
            return cls(
                prompts=(condition.text,),
                part_frames=(max(MIN_FRAMES, period),),
                loop=options.loop,
            )
        if sum(condition.num_frames) != options.num_frames:
            raise RequestError(
                f"The prompts last {sum(condition.num_frames)} frames together, the motion "
                f"{options.num_frames}"
            )
        *others, last = condition.num_frames
        missing = max(0, MIN_FRAMES - period)
        return cls(
            prompts=tuple(prompt.text for prompt in condition.prompts),
            part_frames=(*others, last - options.loop + missing),
            loop=options.loop,
        )


def numbered(scripts: Sequence[Script]) -> list[Script]:
    """The scripts with the places of their prompts in the batch's text."""
    result: list[Script] = []
    first = 0
    for script in scripts:
        result.append(replace(script, first_text=first))
        first += len(script.prompts)
    return result


def motion_of_features(
    features: Tensor, options: SampleOptions, representation: Representation, info: CheckpointInfo
) -> Motion:
    """Features (T, F), not normalised, as a motion: rotations solved, feet locked, on the floor.

    Those of a loop are one period of it.
    """
    if not options.loop:
        return _solved(features[: options.num_frames], representation, info)
    # Three rounds: the feet of the middle one know what comes before and after.
    turn = -2.0 * features[:, representation.part("root_heading_rate")].sum()
    return middle_round(_solved(features.repeat(3, 1), representation, info), len(features), turn)


def _solved(features: Tensor, representation: Representation, info: CheckpointInfo) -> Motion:
    decoded = representation.decode(features)
    motion = Motion(
        fps=info.fps,
        skeleton=info.skeleton,
        root_translation=decoded.joints[:, 0],
        local_rotations=solve_local_rotations(decoded.joints, info.skeleton),
        contacts=torch.zeros_like(decoded.contacts),
    )
    # nothing in a prompt says how high the floor is: a motion that never comes down to it, or
    # stays below, is moved to it as a whole
    return lock_feet(place_on_floor(motion), contact_probabilities=decoded.contacts.clamp(0, 1))


def provenance_of(
    condition: Prompt | PromptSequence,
    options: SampleOptions,
    steps_and_guidance: tuple[int, float],
    info: CheckpointInfo,
) -> dict[str, object]:
    """What is needed to make the motion again."""
    num_steps, guidance_scale = steps_and_guidance
    provenance: dict[str, object] = {
        "prompt": condition.text,
        "seed": options.seed,
        "num_frames": options.num_frames,
        "num_steps": num_steps,
        "guidance_scale": guidance_scale,
        "model": info.name,
        "model_hash": info.model_hash,
        "licence": info.licence,
    }
    if options.loop:
        provenance["loop"] = True
    if isinstance(condition, PromptSequence):
        provenance["prompts"] = [
            {"prompt": prompt.text, "num_frames": frames}
            for prompt, frames in zip(condition.prompts, condition.num_frames, strict=True)
        ]
    return provenance


def far_warnings(sentences: Tensor, known: Tensor | None, info: CheckpointInfo) -> tuple[str, ...]:
    """A warning for each of the sentence vectors (N, 384) that is far from all captions.

    known: (C, 384) sentence vectors of the captions that info.extra lists.
    """
    captions = info.extra.get("captions")
    if known is None or not captions:
        return ()
    warnings: list[str] = []
    for sentence in sentences:
        best = torch.topk(known @ sentence, min(3, len(captions)))
        if float(best.values[0]) < FAR_COSINE:
            nearest = '", "'.join(captions[int(i)] for i in best.indices)
            warnings.append(
                "The prompt is far from everything that this model has learned, so the motion "
                f'may not follow it. The nearest it knows: "{nearest}"'
            )
    return tuple(warnings)

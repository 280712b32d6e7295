"""Actions that are held out of the motion in space, and how far made motions are of them.

Each has prompts that name it, and one length by which it can be told without any network: how high
a foot goes in a kick, how low the hips go in a crouch, how far over the head a hand is that hangs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engine.methods.base import Prompt, SampleOptions
from engine.methods.crossdiff import CrossDiff
from engine.motion import skeleton as sk
from trainer.data.actions import actions_of
from trainer.data.corpus import Clip
from trainer.evaluation.evaluate import RealClips
from trainer.evaluation.evaluator_network import Evaluator
from trainer.experiments import ExperimentError

NUM_SEEDS = 8  # seeds of eight prompts move a share by .1
NUM_FRAMES = 60
SHOWN_FRAMES = 30
_FEET = (sk.LEFT_FOOT, sk.RIGHT_FOOT)
_WRISTS = (sk.LEFT_WRIST, sk.RIGHT_WRIST)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """An action that a row's motion in space is without."""

    action: str  # its name in trainer.data.actions
    prompts: tuple[str, ...]
    length: Callable[[np.ndarray], np.ndarray]  # metres in each frame (T,), of joints (T, 22, 3)
    is_low: bool = False  # the action is where the length is smallest
    limit: float  # metres, beyond which a motion can pass for the action


def foot_heights(joints: np.ndarray) -> np.ndarray:
    """How high the higher foot is over the floor."""
    return joints[:, _FEET, 1].max(1)


def hip_heights(joints: np.ndarray) -> np.ndarray:
    """How high the pelvis is over the lower foot: crouching in the air is crouching too."""
    return joints[:, sk.PELVIS, 1] - joints[:, _FEET, 1].min(1)


def hands_over_head(joints: np.ndarray) -> np.ndarray:
    """How high the higher hand is over the head; negative below it."""
    return joints[:, _WRISTS, 1].max(1) - joints[:, sk.HEAD, 1]


HELD_OUT: dict[str, HeldOut] = {  # by what their rows are named after
    "kicks": HeldOut(
        action="kick",
        prompts=(
            "a person kicks",
            "a person kicks with the right leg",
            "a person kicks with the left leg",
            "someone kicks a ball",
            "a person does a front kick",
            "a person performs a high kick",
            "a fighter kicks with the right foot",
            "someone kicks something in front of them",
        ),
        length=foot_heights,
        limit=0.4,
    ),
    "crouches": HeldOut(
        action="crouch",
        prompts=(
            "a person crouches",
            "a person squats down",
            "someone crouches down low and stands up again",
            "a person ducks under a bar",
            "someone walks in a crouch",
            "a person squats deeply and comes back up",
            "someone bends the knees and stays low",
            "a person crouches under something low",
        ),
        length=hip_heights,
        is_low=True,
        limit=0.6,
    ),
    "hangs": HeldOut(
        action="hang",
        prompts=(
            "a person hangs from a bar",
            "someone hangs from a bar by both hands and swings",
            "a person swings from bar to bar",
            "someone hangs from a bar and dangles the legs",
            "a person moves hand over hand along the bars",
            "someone hangs on monkey bars",
            "a person does a pull-up on a bar",
            "someone hangs from a bar and turns around",
        ),
        length=hands_over_head,
        limit=0.0,
    ),
}


def measured_on(name: str) -> dict[str, HeldOut]:
    """The actions that a row is measured on: all of them where nothing is held out."""
    return {
        plural: held
        for plural, held in HELD_OUT.items()
        if name in ("full", "real") or name.startswith(f"{plural}-")
    }


def made_motions(
    method: CrossDiff, held: HeldOut, num_seeds: int = NUM_SEEDS
) -> tuple[list[np.ndarray], list[str]]:
    """Joints (T, 22, 3) of the action's prompts, sampled num_seeds times each, and the prompts."""
    captions = [*held.prompts] * num_seeds
    options = [
        SampleOptions(num_frames=NUM_FRAMES, seed=100 + number // len(held.prompts))
        for number in range(len(captions))
    ]
    motions = method.run_batch([Prompt(text) for text in captions], options, lambda step, of: None)
    return [motion.joints().float().cpu().numpy() for motion in motions], captions


def real_motions(clips: Sequence[Clip], held: HeldOut) -> tuple[list[np.ndarray], list[str]]:
    """Joints of the recorded clips, once for each of their captions that names the action."""
    pairs = [
        (clip.joints, caption)
        for clip in clips
        for caption in clip.captions
        if held.action in actions_of(caption)
    ]
    return [joints for joints, _ in pairs], [caption for _, caption in pairs]


def action_figures(
    held: HeldOut,
    motions: Sequence[np.ndarray],
    captions: Sequence[str],
    evaluator: Evaluator,
    real: RealClips,
) -> dict[str, float]:
    """How much motions look like the action that their captions name, by the evaluator and plainly.

    ahead: share of the test split's captions of other actions that are further from a motion than
    its own; a half by chance. mm_distance: to its own. length: the action's, where it is most
    pronounced, in metres, mean over the motions. share: of motions in which it is beyond the limit.

    Raises:
        ExperimentError: all captions of the test split name the action.
    """
    is_other = np.array([held.action not in actions_of(caption) for caption in real.captions])
    if not is_other.any():
        raise ExperimentError(f"Every caption of the test split names {held.action!r}")
    embeddings = evaluator.embed_motions(motions)
    own = np.linalg.norm(embeddings - evaluator.embed_captions(captions), axis=-1)
    others = np.linalg.norm(embeddings[:, None] - real.caption_embeddings[None, is_other], axis=-1)
    lengths = np.array([held.length(joints)[most_pronounced(held, joints)] for joints in motions])
    reached = lengths < held.limit if held.is_low else lengths > held.limit
    return {
        "ahead": float((others > own[:, None]).mean()),
        "mm_distance": float(own.mean()),
        "length": float(lengths.mean()),
        "share": float(reached.mean()),
    }


def most_pronounced(held: HeldOut, joints: np.ndarray) -> int:
    """The frame of joints (T, 22, 3) in which the action is, if anywhere."""
    lengths = held.length(joints)
    return int(lengths.argmin() if held.is_low else lengths.argmax())


def shown_part(held: HeldOut, joints: np.ndarray) -> np.ndarray:
    """The second and a half about that frame, of joints (T, 22, 3)."""
    middle = most_pronounced(held, joints)
    first = min(max(0, middle - SHOWN_FRAMES // 2), max(0, len(joints) - SHOWN_FRAMES))
    return joints[first : first + SHOWN_FRAMES]

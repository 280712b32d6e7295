"""Targets in space for wild footage: the model's own lift of it, fitted to what is seen.

CrossDiff filters its lifts over time (One-Euro) and learns them as they are. Ours are moved onto
the view that they were lifted from, as captures are, and set onto the floor. They are made when the
stage begins and kept beside the run, so that a resumed run has the same teacher: the model as it
was then.

Source: CrossDiff, ECCV 2024, section 3.3.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.motion import skeleton as sk
from engine.motion.lifting import Track, motion_of_lift, observe
from engine.motion.ray_fit import RAY_FIT
from engine.motion.representation import Representation, estimate_heading
from engine.motion.representation_2d import FOCAL_LENGTH, VIEW
from engine.motion.track_fit import fit_to_keypoints
from engine.motion.unplaced_lift import placed_lift
from engine.networks.text_encoder import no_words
from engine.networks.two_domain import FLAT, SOLID
from trainer.data.corpus import FPS, CorpusError
from trainer.data.feature_bank import FeatureBank
from trainer.data.statistics import Statistics
from trainer.data.two_domain_examples import TwoDomainBatch, TwoDomainSampler, wild_azimuths

log = logging.getLogger(__name__)

_CHUNK = 64  # clips lifted at once
_SAME_PLACE = 1e-5  # image units
_TRUNK = (
    sk.PELVIS,
    sk.SPINE1,
    sk.SPINE2,
    sk.SPINE3,
    sk.NECK,
    sk.LEFT_COLLAR,
    sk.RIGHT_COLLAR,
    sk.HEAD,
)
_LOWEST = 0.05  # of a clip's frames in which a foot may be under the floor: lifted feet shake


class WildSampler:
    """A sampler that has targets made for wild clips before its first batch."""

    def __init__(
        self,
        sampler: TwoDomainSampler,
        bank: FeatureBank,
        make: Callable[[], Tensor],
        path: Path,
    ) -> None:
        """make() gives the targets (N, F) of the bank's flat clips; path is where they are kept."""
        self._sampler, self._bank, self._make, self._path = sampler, bank, make, path
        self._num_drawn = 0

    def draw(self, generator: torch.Generator) -> TwoDomainBatch:
        """The next batch.

        Raises:
            CorpusError: this is a run gone on with, and its targets are gone.
        """
        if not self._bank.has_made_up:
            self._bank.set_made_up(self._targets())
        self._num_drawn += 1
        return self._sampler.draw(generator)

    def waiting(self) -> list[list[int]]:
        """What the sampler has waiting, and behind it the number of batches drawn."""
        return [*self._sampler.waiting(), [self._num_drawn]]

    def restore(self, waiting: list[list[int]]) -> None:
        """Take up what `waiting` gave."""
        *batches, [self._num_drawn] = waiting
        self._sampler.restore(batches)

    def _targets(self) -> Tensor:
        if self._num_drawn:
            if not self._path.is_file():
                raise CorpusError(
                    f"{self._path} is missing: it has the targets that this run began its wild "
                    "stage with; put it back, or train anew"
                )
            return load_file(self._path)["targets"]
        targets = self._make().cpu()
        # several processes may train, all with the same targets
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}.partial")
        save_file({"targets": targets}, partial)
        partial.replace(self._path)
        return targets


def lift_wild(
    lift: Callable[[FeatureBank, TwoDomainBatch], tuple[Tensor, Tensor]],
    bank: FeatureBank,
    statistics: Mapping[str, Statistics],
    representation: Representation,
) -> Tensor:
    """Targets (N, F), normalised, of all frames of the bank's flat clips.

    lift gives features in space (B, T, F) of a batch's views (B, T, 134), and these; both are
    normalised by the statistics.
    """
    solid, flat = statistics[SOLID], statistics[FLAT]
    device = bank.device
    targets: list[Tensor] = []
    for rows in torch.arange(bank.num_solid, bank.num_clips).split(_CHUNK):
        lengths = bank.lengths[rows]
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        nothing = torch.zeros(len(rows), dtype=torch.bool, device=device)
        batch = TwoDomainBatch(
            rows=rows.to(device),
            mask=mask.to(device),
            text=no_words(len(rows), device),
            azimuth=wild_azimuths(rows).to(device),
            is_told=nothing,
            is_footage=nothing,
        )
        with torch.no_grad():
            found, views = lift(bank, batch)
        pairs = zip(solid.restore(found).cpu(), flat.restore(views).cpu(), lengths, strict=True)
        for lifted, seen, length in pairs:
            fitted = fit_to_view(lifted[:length], seen[:length], representation)
            targets.append(on_the_floor(fitted, representation))
        log.info(
            "Lifted %d of %d clips of wild footage", len(targets), bank.num_clips - bank.num_solid
        )
    return solid.to(torch.device("cpu")).normalise(torch.cat(targets))


def fit_to_view(features: Tensor, views: Tensor, representation: Representation) -> Tensor:
    """Features (T, F) of a lifted motion that is moved onto what is seen of it (T, 134).

    Neither is normalised. A lift leans towards the poses that were learned in space, upright ones
    where no crouch was; how short a thigh looks tells how far it is bent.
    """
    points = VIEW.decode(views)
    apart = (points[:, :, None] - points[:, None]).abs().amax(-1)  # (T, 22, 22)
    # a joint that no detector saw stands where another is
    is_seen = (apart + torch.eye(22)).amin(-1) > _SAME_PLACE
    keypoints = torch.cat((points, is_seen[..., None].to(points)), dim=-1)
    # a lift is placed by what a detector shows: on the limbs that is the joints
    shown = keypoints.clone()
    shown[:, list(_TRUNK), 2] = 0.0
    observation = observe(Track(keypoints=shown, fps=FPS, focal_length=FOCAL_LENGTH), fps=FPS)
    decoded = representation.decode(features)
    lift = placed_lift(decoded.joints, decoded.contacts, observation)
    motion = motion_of_lift(lift, observation, lock=False)
    fitted = fit_to_keypoints(
        motion, keypoints, _silent, deviations=RAY_FIT, of_joints=True, is_body_known=True
    )
    joints = fitted.joints().float()
    joints = torch.cat((joints, joints[-1:]))  # and a frame that encoding takes
    return representation.encode(joints, estimate_heading(joints))


def on_the_floor(features: Tensor, representation: Representation) -> Tensor:
    """Features (T, F), not normalised, of a motion that stands on the floor at some time.

    How high somebody is can't be told by a camera that isn't known, but nearly every clip touches
    the floor: the twentieth of its frames in which a foot is lowest is put there.
    """
    joints = representation.decode(features).joints
    floor = joints[..., list(sk.FOOT_JOINTS), 1].amin(-1).quantile(_LOWEST)
    standing = features.clone()
    standing[..., representation.part("root_height")] -= floor
    standing[..., representation.part("joint_positions")][..., 1::3] -= floor  # over the ground too
    return standing


def _silent(step: int, of: int) -> None:
    pass

"""CrossDiff's loss: clean features along four paths, from space and from a view to either.

Shape letters: B clips, T frames, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from engine.diffusion.schedule import NoiseSchedule
from engine.motion.representation import Representation
from engine.motion.representation_2d import VIEW, see
from engine.networks.text_encoder import TextFeatures
from engine.networks.two_domain import FLAT, SOLID, Paths
from trainer.data.feature_bank import FeatureBank, Gathered
from trainer.data.statistics import Statistics
from trainer.data.two_domain_examples import TwoDomainBatch
from trainer.losses.motion_terms import feature_loss, feature_weights, path_loss, step_loss
from trainer.low_noise import draw_timesteps
from trainer.precision import autocast

Batches = Sequence[tuple[FeatureBank, TwoDomainBatch]]

VIEW_WEIGHTS = {
    "view_root_path": 5.0,
    "view_positions": 1.0,
    "view_bone_turns": 0.5,
    "view_velocities": 0.8,
    "view_contacts": 0.5,
}
_TIMESTEPS = 49  # the last of those that validation's timesteps are counted in
_NUM_ROOT_MOTION = 3  # features in space, turn and way, that a wild clip's lift can't tell well


@dataclass(frozen=True, kw_only=True)
class CrossWeights:
    """Weights of the paths, source first, and of what is added to them."""

    solid_solid: float = 1.0
    flat_solid: float = 1.0
    solid_flat: float = 1.0
    flat_flat: float = 1.0
    kept: float = 0.1  # of the last three in the stage in space, so that lifting isn't forgotten
    wild_cross: float = 0.1  # of the two crossing paths on wild footage
    steps: float = 0.1  # of the steps that positions give, against the features
    path: float = 1.0  # of turns and ways over seconds
    tie: float = 0.0  # of how the motion in space is seen, against the view
    is_even: bool = False  # all features count the same, as published

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f"the weight {name} is {value}, needs 0 or more")

    @property
    def paths(self) -> dict[tuple[str, str], float]:
        """The weight of each path, by source and target."""
        return {
            (SOLID, SOLID): self.solid_solid,
            (FLAT, SOLID): self.flat_solid,
            (SOLID, FLAT): self.solid_flat,
            (FLAT, FLAT): self.flat_flat,
        }

    @property
    def uses_flat(self) -> bool:
        """Whether views are learned from at all."""
        return any(weight for path, weight in self.paths.items() if FLAT in path)

    def without_views(self) -> CrossWeights:
        """The weights of what is learned in space alone."""
        return replace(self, flat_solid=0.0, solid_flat=0.0, flat_flat=0.0)

    def later(self) -> CrossWeights:
        """The weights of the stage in space."""
        return replace(
            self,
            flat_solid=self.kept * self.flat_solid,
            solid_flat=self.kept * self.solid_flat,
            flat_flat=self.kept * self.flat_flat,
        )

    def wild(self) -> CrossWeights:
        """The weights of the stage with wild footage."""
        return replace(self, flat_solid=self.wild_cross, solid_flat=self.wild_cross)


@dataclass(frozen=True, kw_only=True)
class Draws:
    """How batches are noised, and in which precision the network runs."""

    noisiest_share: float  # of the batch drawn from the noisiest timesteps alone
    lift_share: float  # of what is seen, as lifting meets it: clean, without words
    text_noise: float  # added to the words' vectors, against their own length
    precision: str


class Objective:
    """x0 along the paths: training loss and held-out figures."""

    def __init__(
        self,
        model: nn.Module,
        bank: FeatureBank,
        statistics: Mapping[str, Statistics],
        scored: tuple[Representation, CrossWeights],
        schedule: NoiseSchedule,
        draws: Draws,
    ) -> None:
        self._model, self._bank, self._schedule = model, bank, schedule
        self._representation, weights = scored
        self._draws = draws
        device = next(model.parameters()).device
        self._statistics = {domain: s.to(device) for domain, s in statistics.items()}
        self._weights, even = weights, weights.is_even
        solid = feature_weights(self._representation).to(device)
        flat = view_weights().to(device)
        self._feature_weights = {
            SOLID: torch.ones_like(solid) if even else solid,
            FLAT: torch.ones_like(flat) if even else flat,
        }
        self._is_root_motion = torch.arange(len(solid), device=device) < _NUM_ROOT_MOTION
        part = self._representation.part("joint_velocities")
        self._step_scale = float(statistics[SOLID].deviation[part].mean())

    def loss(
        self, batch: TwoDomainBatch, generator: torch.Generator, weights: CrossWeights
    ) -> dict[str, Tensor]:
        """The terms of one batch. A term that needs 3D leaves out clips without.

        Only the end of a batch is seen, if so set: what costs most are the paths with views.
        """
        count = len(batch.rows)
        num_seen = self._bank.settings.num_seen(count) if weights.uses_flat else 0
        if num_seen in (0, count):
            return self._terms(batch, generator, weights)
        unseen = batch.part(slice(0, count - num_seen))
        terms = self._terms(batch.part(slice(count - num_seen, count)), generator, weights)
        share = num_seen / count
        for name, value in self._terms(unseen, generator, weights.without_views()).items():
            terms[name] = share * terms[name] + (1 - share) * value
        return terms

    def _terms(
        self, batch: TwoDomainBatch, generator: torch.Generator, weights: CrossWeights
    ) -> dict[str, Tensor]:
        data = self._bank.gather(batch, generator, with_flat=weights.uses_flat)
        count, draws = len(batch.rows), self._draws
        timestep = draw_timesteps(count, 0.0, self._schedule.last, draws.noisiest_share, generator)
        text = blurred(batch.text, draws.text_noise, generator)
        if weights.uses_flat and (num_lifts := round(draws.lift_share * count)):
            # at the end of the batch, where footage is
            timestep[-num_lifts:] = 0.0
            is_told = torch.arange(count, device=text.mask.device) < count - num_lifts
            text = replace(text, mask=text.mask & is_told[:, None])
        x0 = self._predict(batch, data, timestep, text, weights, generator)
        terms: dict[str, Tensor] = {}
        for path, weight in weights.paths.items():
            if weight:
                error = self._path_error(path, x0, data, batch)
                terms["-".join(path)] = weight * _mean(error, self._counts(path, data))
        for path in ((SOLID, SOLID), (FLAT, SOLID)):
            if weight := weights.paths[path]:
                terms |= self._motion_terms(path, weight, x0[path], data, batch, weights)
        return terms

    def validate(self, batches: Batches, timesteps: Sequence[int]) -> dict[str, float]:
        """Mean errors over fixed noise and timesteps of held-out clips, by path."""
        generator = torch.Generator().manual_seed(0)
        totals: dict[str, Tensor] = {}
        count = 0
        for bank, batch in batches:
            data = bank.gather(batch, generator, with_flat=self._weights.uses_flat)
            for value in timesteps:
                level = value * self._schedule.last / _TIMESTEPS
                timestep = torch.full((len(batch.rows),), level)
                x0 = self._predict(batch, data, timestep, batch.text, self._weights, generator)
                for path in x0:
                    error = self._path_error(path, x0, data, batch).sum()
                    name = "-".join(path)
                    totals[name] = totals.get(name, torch.zeros_like(error)) + error
                count += len(batch.rows)
        figures = {name: float(total) / count for name, total in totals.items()}
        return {"validation": figures["3d-3d"], **figures}

    def lifted(self, bank: FeatureBank, batch: TwoDomainBatch) -> tuple[Tensor, Tensor]:
        """The model's own lift (B, T, F) of views without words or azimuth, and the views.

        Both normalised.
        """
        generator = torch.Generator().manual_seed(0)
        data = bank.gather(batch, generator)
        nothing = replace(batch.text, mask=torch.zeros_like(batch.text.mask))
        clean = torch.zeros(len(batch.rows), device=data.flat.device)
        view = torch.zeros_like(data.view)
        self._model.eval()
        found: Paths = self._model({FLAT: data.flat}, clean, nothing, batch.mask, view, (SOLID,))
        return found[FLAT, SOLID].float(), data.flat

    def _predict(
        self,
        batch: TwoDomainBatch,
        data: Gathered,
        timestep: Tensor,
        text: TextFeatures,
        weights: CrossWeights,
        generator: torch.Generator,
    ) -> Paths:
        """Clean features along all paths; the noise is of its own in space and in the view."""
        domains = {SOLID: data.solid, FLAT: data.flat} if weights.uses_flat else {SOLID: data.solid}
        noisy: dict[str, Tensor] = {}
        for domain, clean in domains.items():
            noise = torch.randn(clean.shape, generator=generator).to(clean.device)
            noisy[domain] = self._schedule.add_noise(clean, noise, timestep)
        device = data.solid.device
        with autocast(self._draws.precision, device):
            x0: Paths = self._model(
                noisy, timestep.to(device), text, batch.mask, data.view, tuple(domains)
            )
        return {path: value.float() for path, value in x0.items()}

    def _path_error(
        self, path: tuple[str, str], x0: Paths, data: Gathered, batch: TwoDomainBatch
    ) -> Tensor:
        """(B,) against the target's true features; of a made-up target without root motion."""
        target = path[1]
        weights = self._feature_weights[target]
        if target == FLAT:
            return feature_loss(x0[path], data.flat, batch.mask, weights)
        known = ~(data.is_made_up[:, None, None] & self._is_root_motion)  # (B, 1, F)
        return feature_loss(x0[path] * known, data.solid * known, batch.mask, weights)

    def _counts(self, path: tuple[str, str], data: Gathered) -> Tensor:
        """(B,) which clips a path can be learned from."""
        return data.has_solid if SOLID in path else torch.ones_like(data.has_solid)

    def _motion_terms(
        self,
        path: tuple[str, str],
        weight: float,
        x0: Tensor,
        data: Gathered,
        batch: TwoDomainBatch,
        weights: CrossWeights,
    ) -> dict[str, Tensor]:
        """What a motion in space adds up to, over frames and as it is seen."""
        terms: dict[str, Tensor] = {}
        name = "-".join(path)
        restored = self._statistics[SOLID].restore(x0)
        recorded = data.has_solid & ~data.is_made_up
        if weights.steps or weights.path:
            true = self._statistics[SOLID].restore(data.solid)
            pair = (restored, true, batch.mask, self._representation)
            steps = _mean(step_loss(*pair, self._step_scale), recorded)
            ways = _mean(path_loss(*pair), recorded)
            terms[f"steps {name}"] = weight * weights.steps * steps
            terms[f"path {name}"] = weight * weights.path * ways
        if weights.tie and weights.uses_flat:
            error = self._seen_error(restored, data, batch)
            # a view that is lifted ties without any 3D; motion in space is itself where it starts
            counts = batch.is_told & self._counts(path, data) if path[0] == SOLID else batch.is_told
            terms[f"tie {name}"] = weight * weights.tie * _mean(error, counts)
        return terms

    def _seen_error(self, restored: Tensor, data: Gathered, batch: TwoDomainBatch) -> Tensor:
        """(B,) how far motions (B, T, F) are, as seen from the batch's sides, from its views."""
        joints = self._representation.decode(restored).joints
        points = see(joints, batch.azimuth)
        root = points[..., 0, :]
        local = (points[..., 1:, :] - root[..., None, :]).flatten(-2)
        seen = torch.cat((root - root[:, :1], local), dim=-1)
        statistics, last = self._statistics[FLAT], VIEW.part("view_positions").stop
        normalised = (seen - statistics.mean[:last]) / statistics.deviation[:last]
        true, weights = data.flat[..., :last], self._feature_weights[FLAT][:last]
        return feature_loss(normalised, true, batch.mask, weights / weights.mean())


def blurred(text: TextFeatures, amount: float, generator: torch.Generator) -> TextFeatures:
    """Vectors with noise: what was learned for a caption holds for all that is near it."""
    tokens = torch.randn(text.tokens.shape, generator=generator).to(text.tokens.device)
    sentence = torch.randn(text.sentence.shape, generator=generator).to(text.sentence.device)
    size = text.tokens.square().mean(-1, keepdim=True).sqrt()
    length = text.sentence.square().mean(-1, keepdim=True).sqrt()
    return replace(
        text,
        tokens=text.tokens + amount * size * tokens,
        sentence=text.sentence + amount * length * sentence,
    )


def view_weights() -> Tensor:
    """Weight of each feature of a view (134,), with mean 1."""
    weights = torch.cat([torch.full((size,), VIEW_WEIGHTS[block]) for block, size in VIEW.sizes])
    return weights / weights.mean()


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    """Mean over the clips (B,) that count; 0 if none does."""
    return (values * counts).sum() / counts.sum().clamp(min=1)

"""CrossDiff from a checkpoint: sampling, mixtures, lifting, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.checkpoint import CheckpointError, load_checkpoint
from engine.diffusion.mixture import sample_mixture
from engine.diffusion.sampling import Denoise, sample_ddim
from engine.diffusion.schedule import cosine_schedule
from engine.methods import load_method
from engine.methods.base import (
    Cancelled,
    Prompt,
    PromptSequence,
    RequestError,
    SampleOptions,
    VideoClip,
)
from engine.methods.crossdiff import CrossDiff
from engine.methods.prompted import Script
from engine.motion.camera import Camera, look_at, units_to_pixels
from engine.motion.keypoint_layout import OBSERVED_JOINTS
from engine.motion.lifting import Track, observe
from engine.motion.representation import ROOT_LOCAL
from engine.motion.representation_2d import FOUR_AZIMUTHS
from engine.motion.rotations import turn_about_up
from engine.motion.seen_points import shown_points
from engine.motion.skeleton import SMPL_22
from engine.networks.text_encoder import TextFeatures
from engine.networks.two_domain import SOLID
from tests.engine.made_crossdiff import make_tiny_crossdiff

FACING = (  # where the camera stands, seen from the body, and how far the body turns meanwhile
    *((azimuth, 0.0) for azimuth in FOUR_AZIMUTHS),
    (0.0, 1.2),
    (math.pi / 2, -1.2),
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return make_tiny_crossdiff(tmp_path / "crossdiff.safetensors")


@pytest.fixture
def method(checkpoint: Path) -> CrossDiff:
    found = load_method(checkpoint, torch.device("cpu"))
    assert isinstance(found, CrossDiff)
    return found


def words(count: int = 1) -> TextFeatures:
    generator = torch.Generator().manual_seed(2)
    return TextFeatures(
        tokens=torch.randn(count, 4, 384, generator=generator),
        mask=torch.ones(count, 4, dtype=torch.bool),
        sentence=torch.randn(count, 384, generator=generator),
    )


def quiet(step: int, num_steps: int) -> None:
    """Report to nobody."""


def sampled(method: CrossDiff, frames: int, guidance: float = 1.0, seed: int = 3) -> torch.Tensor:
    script = Script(prompts=("x",), part_frames=(frames,))
    return method.sample(
        words(), [script], [seed], num_steps=5, guidance_scale=guidance, report=quiet
    )[0]


def test_an_alpha_of_zero_is_a_sampled_view_lifted(method: CrossDiff) -> None:
    with torch.inference_mode():
        mixed = sampled(method.mixed(0.0), 30)
        script = Script(prompts=("x",), part_frames=(30,))
        view, code = method.sample_view(words(), script, 3, num_steps=5)
        lifted = method.lift_view(view, code)
    torch.testing.assert_close(mixed, lifted, rtol=1e-4, atol=1e-5)
    assert (sampled(method, 30) - mixed).abs().max() > 1e-3


def test_other_alphas_carry_over_once_on_the_way() -> None:
    schedule = cosine_schedule(50)
    calls: list[tuple[str, float]] = []

    def told(name: str):
        def denoise(x: torch.Tensor, timestep: float) -> torch.Tensor:
            calls.append((name, timestep))
            return torch.zeros(len(x), 4, 2 if name == "first" else 3)

        return denoise

    noise = torch.ones(1, 4, 2), torch.ones(1, 4, 3)
    for alpha, expected in ((1.0, 0), (0.5, None), (0.0, 10)):
        calls.clear()
        x = sample_mixture(
            told("first"), told("second"), told("carry"), noise, schedule, (10, alpha), quiet
        )
        assert x.shape == (1, 4, 3)
        names = [name for name, _ in calls]
        assert names.count("carry") == 1
        place = names.index("carry")
        assert names[:place] == ["first"] * place
        assert set(names[place + 1 :]) <= {"second"}
        assert all(t > alpha * schedule.last for n, t in calls if n == "first" and alpha > 0)
        assert expected in (None, place)


def test_guidance_is_a_switch_with_an_effect(method: CrossDiff, checkpoint: Path) -> None:
    said, tensors = words(), load_checkpoint(checkpoint)[1]
    empty = replace(said, mask=torch.zeros_like(said.mask))
    mask, view = torch.ones(1, 24, dtype=torch.bool), torch.zeros(1, 3)
    noise = torch.randn(1, 24, 137, generator=torch.Generator().manual_seed(3))

    def predicted(x: Tensor, timestep: float, text: TextFeatures) -> Tensor:
        times = torch.full((1,), timestep)
        return method.network({SOLID: x}, times, text, mask, view, (SOLID,))[SOLID, SOLID]

    def with_words(x: Tensor, timestep: float) -> Tensor:
        return predicted(x, timestep, said)

    def past_them(x: Tensor, timestep: float) -> Tensor:
        without = predicted(x, timestep, empty)
        return without + 3.0 * (with_words(x, timestep) - without)

    def by_hand(denoise: Denoise) -> Tensor:
        x0 = sample_ddim(denoise, noise, cosine_schedule(50), 5, quiet)[0]
        return x0 * tensors["statistics.std"] + tensors["statistics.mean"]

    one, more = sampled(method, 24, guidance=1.0), sampled(method, 24, guidance=3.0)
    torch.testing.assert_close(one, by_hand(with_words))
    torch.testing.assert_close(more, by_hand(past_them))
    assert (one - more).abs().max() > 1e-4


def test_a_batch_is_its_items_one_by_one(method: CrossDiff) -> None:
    scripts = [Script(prompts=("x",), part_frames=(n,)) for n in (22, 31)]
    for model in (method, method.mixed(0.4)):
        both = model.sample(
            words(2), scripts, [7, 8], num_steps=4, guidance_scale=2.0, report=quiet
        )
        for row in (0, 1):
            text = words(2)[torch.tensor([row])]
            alone = model.sample(
                text, [scripts[row]], [7 + row], num_steps=4, guidance_scale=2.0, report=quiet
            )[0]
            torch.testing.assert_close(both[row], alone, rtol=1e-3, atol=1e-4)


def test_a_clip_is_lifted_at_its_own_length_with_bones_of_one_length(method: CrossDiff) -> None:
    rest = torch.tensor(SMPL_22.rest_joints()).float() + torch.tensor((0, 0.95, 0))
    time = torch.arange(250) / 30
    joints = rest.repeat(250, 1, 1)
    joints[..., 0] += 0.3 * time[:, None]
    camera = Camera(
        rotation=torch.diag(torch.tensor((1.0, -1.0, -1.0))),
        translation=torch.tensor((-1.0, 1.0, 5.0)),
        focal_length=torch.tensor(2.0),
        principal_point=torch.zeros(2),
    )
    seen = units_to_pixels(camera.project(joints)[0], (640, 480))
    keypoints = torch.cat((seen, torch.ones(250, 22, 1)), dim=-1)
    keypoints[40:44] = 0
    clip = VideoClip(keypoints=keypoints, fps=30.0, image_size=(640, 480), layout="smpl_22")
    motion = method.run(clip, SampleOptions(num_frames=1000, seed=0), quiet)
    assert motion.num_frames == 167
    found = motion.joints()
    assert found.isfinite().all()
    parents = torch.tensor(SMPL_22.parents[1:])
    bones = (found[:, 1:] - found[:, parents]).norm(dim=-1)
    assert bones.std(0).max() < 1e-4
    assert motion.camera is not None
    _, depth = motion.camera.project(found)
    assert (depth > 0).all()
    again = method.run(clip, SampleOptions(num_frames=1000, seed=9), quiet)
    torch.testing.assert_close(again.joints(), found)
    short = method.run(clip, SampleOptions(num_frames=20, seed=0), quiet)
    assert short.num_frames == 20
    single = replace(clip, keypoints=clip.keypoints[:1])
    assert method.run(single, SampleOptions(num_frames=9, seed=0), quiet).num_frames == 1


def walk(turn: float) -> tuple[Tensor, Tensor]:
    """A walk with bent arms and knees that turns: joints (61, 22, 3), headings (61,)."""
    joints = torch.tensor(SMPL_22.rest_joints()).float().repeat(61, 1, 1)
    swing = torch.sin(torch.arange(61) / 3)[:, None]
    joints[:, [18, 19, 20, 21], 2] += torch.tensor((0.15, 0.15, 0.35, 0.35))
    joints[:, [18, 19, 20, 21], 1] -= 0.15
    joints[:, [4, 7, 10], 2] += 0.15 * swing + 0.1
    joints[:, [5, 8, 11], 2] -= 0.15 * swing - 0.1
    heading = turn * torch.linspace(0, 1, 61)
    ahead = 0.03 * torch.stack((heading.sin(), 0 * heading, heading.cos()), dim=-1)
    root = ahead.cumsum(0) - ahead[0] + torch.tensor((0.0, SMPL_22.root_height(), 0.0))
    return joints @ turn_about_up(heading).mT + root[:, None], heading


@pytest.mark.parametrize(("azimuth", "turn"), FACING)
def test_a_lifted_body_faces_where_it_is_seen_to_face(
    method: CrossDiff, monkeypatch: pytest.MonkeyPatch, azimuth: float, turn: float
) -> None:
    joints, heading = walk(turn)
    features = ROOT_LOCAL.encode(joints, heading)
    features[:, ROOT_LOCAL.part("root_heading_rate")] = 0.0  # poses alone: keypoints tell the rest

    def lifted(view: Tensor) -> Tensor:
        return features

    monkeypatch.setattr(method, "lift_view", lifted)
    side = torch.tensor((math.sin(azimuth), 0.0, math.cos(azimuth)))
    aim = torch.tensor((0.0, 0.9, 0.0))
    rotation, translation = look_at(4.5 * side + aim + torch.tensor((0.0, 1.2, 0.0)), aim)
    camera = Camera(
        rotation=rotation,
        translation=translation,
        focal_length=torch.tensor(2.0),
        principal_point=torch.zeros(2),
    )
    keypoints = torch.zeros(60, 22, 3)
    keypoints[..., :2] = camera.project(shown_points(joints[:60]))[0]
    keypoints[:, OBSERVED_JOINTS, 2] = 1.0
    lift = method.lift(observe(Track(keypoints=keypoints, fps=20.0, focal_length=2.0), fps=20.0))
    faced = lift.local_rotations[:, 0, :, 2] @ rotation  # in the world
    off = torch.atan2(faced[:, 0], faced[:, 2]) - heading[:60]
    assert torch.rad2deg(torch.atan2(off.sin(), off.cos())).abs().max() < 10
    assert (lift.up @ rotation)[:, 1].min() > math.cos(math.radians(4))


def test_prompts_sequences_and_loops_give_motions(method: CrossDiff) -> None:
    sequence = PromptSequence((Prompt("a"), Prompt("b")), (30, 34))
    long = SampleOptions(num_frames=64, seed=1, num_steps=2)
    motion = method.run(sequence, long, quiet)
    assert motion.num_frames == 64
    assert motion.provenance["model"] == "crossdiff"
    loop = method.run(Prompt("walk"), replace(long, loop=True), quiet)
    assert loop.num_frames == 64
    assert method.run(Prompt("walk"), replace(long, num_frames=7), quiet).num_frames == 7
    mixed = method.mixed(0.3).run(Prompt("walk"), long, quiet)
    assert mixed.provenance["mixture"] == 0.3


def test_what_does_not_fit_is_refused(method: CrossDiff) -> None:
    options = SampleOptions(num_frames=300, seed=1, num_steps=2)
    with pytest.raises(RequestError, match="Mixture sampling"):
        method.mixed(0.3).run(Prompt("walk"), options, quiet)
    with pytest.raises(RequestError, match="0 to 1"):
        method.mixed(1.2)

    def stop(step: int, num_steps: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        method.run(Prompt("walk"), replace(options, num_frames=30), stop)


def test_a_header_that_does_not_fit_is_refused(checkpoint: Path) -> None:
    info, tensors = load_checkpoint(checkpoint)
    for changed in (
        replace(info, feature_blocks=ROOT_LOCAL.sizes),
        replace(info, method_config={**info.method_config, "network": "other"}),
        replace(info, method_config={**info.method_config, "unified": {"width": 24}}),
    ):
        with pytest.raises(CheckpointError):
            CrossDiff(changed, tensors, torch.device("cpu"))

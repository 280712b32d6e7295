"""CrossDiff from a checkpoint: sampling, mixtures, lifting, and what it refuses."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from engine.checkpoint import CheckpointError, CheckpointInfo, load_checkpoint, save_checkpoint
from engine.diffusion.mixture import sample_mixture
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
from engine.methods.crossdiff import CrossDiff, CrossDiffConfig
from engine.methods.prompted import Script
from engine.motion.camera import Camera, units_to_pixels
from engine.motion.representation import ROOT_LOCAL
from engine.motion.representation_2d import VIEW
from engine.motion.skeleton import SMPL_22
from engine.networks.text_encoder import TextFeatures
from engine.networks.two_domain import TwoDomainConfig

TINY = TwoDomainConfig(
    width=16,
    num_heads=2,
    feedforward=32,
    private_layers=1,
    shared_layers=1,
    detail_width=8,
    dropout=0.0,
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Random weights around the rest pose."""
    config = CrossDiffConfig(unified=TINY)
    torch.manual_seed(0)
    model = config.build()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    tensors: dict[str, torch.Tensor] = {f"model.{n}": p for n, p in model.named_parameters()}
    rest = torch.tensor(SMPL_22.rest_joints()).float() + torch.tensor((0, SMPL_22.root_height(), 0))
    mean = ROOT_LOCAL.encode(rest.repeat(2, 1, 1), torch.zeros(2))[0]
    tensors["statistics.mean"], tensors["statistics.std"] = mean, torch.full((137,), 0.02)
    tensors["statistics.view.mean"] = torch.zeros(134)
    tensors["statistics.view.std"] = torch.ones(134)
    info = CheckpointInfo(
        method="crossdiff",
        method_config=asdict(config),
        accepts=("prompt", "video"),
        fps=20.0,
        feature_blocks=(*ROOT_LOCAL.sizes, *VIEW.sizes),
        sampling={"num_steps": 5, "guidance_scale": 2.0},
    )
    path = tmp_path / "crossdiff.safetensors"
    save_checkpoint(path, info, tensors)
    return path


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


def test_guidance_is_a_switch_with_an_effect(method: CrossDiff) -> None:
    one, more = sampled(method, 24), sampled(method, 24, guidance=3.0)
    assert (one - more).abs().max() > 1e-4
    torch.testing.assert_close(sampled(method, 24, guidance=1.0), one)


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

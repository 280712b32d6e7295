"""Sampling from a checkpoint: seeds, lengths, batches, warnings, cancel, foreign files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from engine.methods import load_method
from engine.methods.base import (
    Cancelled,
    Prompt,
    PromptSequence,
    RequestError,
    SampleOptions,
    VideoClip,
)
from engine.methods.mdm import Mdm
from engine.motion.kinematics import bone_lengths
from engine.networks.text_encoder import TextFeatures
from scripts.make_tiny_checkpoint import make_tiny_checkpoint

WALK = Prompt("a person walks forward")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    make_tiny_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def method(checkpoint: Path) -> Mdm:
    loaded = load_method(checkpoint, torch.device("cpu"))
    assert isinstance(loaded, Mdm)
    return loaded


def quiet(step: int, num_steps: int) -> None:
    """A report that does nothing."""


def options(num_frames: int = 60, seed: int = 3) -> SampleOptions:
    return SampleOptions(num_frames=num_frames, seed=seed)


def test_the_same_seed_gives_the_same_numbers_and_another_doesnt(method: Mdm) -> None:
    first, again = (method.run(WALK, options(), quiet) for _ in range(2))
    assert first.local_rotations.equal(again.local_rotations)
    assert first.root_translation.equal(again.root_translation)
    other = method.run(WALK, options(seed=4), quiet)
    assert not torch.allclose(first.joints(), other.joints(), atol=1e-3)


@pytest.mark.parametrize("num_frames", [1, 7, 20, 80, 196, 197, 200, 600, 1200])
def test_any_length_is_made_to_the_frame(method: Mdm, num_frames: int) -> None:
    motion = method.run(WALK, options(num_frames), quiet)
    assert motion.num_frames == num_frames
    joints = motion.joints()
    assert joints.isfinite().all()
    assert joints[..., 1].min() > -0.03
    lengths = bone_lengths(joints, motion.skeleton)
    assert (lengths - lengths[:1]).abs().max() < 1e-5


def test_company_does_not_change_a_motion(method: Mdm) -> None:
    prompts = [WALK, Prompt("someone jumps"), Prompt("he waves with the left hand, smiling")]
    wanted = [options(60, 3), options(250, 4), options(90, 5)]
    together = method.run_batch(prompts, wanted, quiet)
    for prompt, want, motion in zip(prompts, wanted, together, strict=True):
        alone = method.run(prompt, want, quiet)
        assert (alone.joints() - motion.joints()).abs().max() < 1e-3  # a millimetre


@pytest.mark.parametrize("num_frames", [21, 81, 400])
def test_a_loop_ends_in_the_pose_that_it_begins_with(method: Mdm, num_frames: int) -> None:
    motion = method.run(WALK, SampleOptions(num_frames=num_frames, seed=1, loop=True), quiet)
    assert motion.num_frames == num_frames
    first, last = motion.local_rotations[0], motion.local_rotations[-1]
    same = (first[1:] * last[1:]).sum(-1).abs()
    assert same.min() > 1 - 1e-6
    assert motion.root_translation[0, 1] == motion.root_translation[-1, 1]
    assert motion.contacts[0].equal(motion.contacts[-1])
    # the step across the seam is like its neighbours: the last step leads to the first pose
    steps = torch.diff(motion.joints() - motion.joints()[:, :1], dim=0).norm(dim=-1).amax(-1)
    assert steps[-1] < 3 * steps.median() + 0.01


def test_a_loop_that_is_too_short_is_refused(method: Mdm) -> None:
    with pytest.raises(RequestError, match="needs 21 or more"):
        method.run(WALK, SampleOptions(num_frames=20, seed=1, loop=True), quiet)


def test_a_sequence_is_one_motion_of_all_its_prompts(method: Mdm) -> None:
    script = PromptSequence(prompts=(WALK, Prompt("someone jumps")), num_frames=(50, 30))
    heard: list[TextFeatures] = []
    network = vars(method)["_model"]

    def hear(_: object, inputs: tuple[Any, ...]) -> None:
        heard.append(inputs[2])

    hook = network.register_forward_pre_hook(hear)
    motion = method.run(script, options(80), quiet)
    hook.remove()
    assert motion.num_frames == 80
    walking, jumping = heard[0].sentence[:2]
    assert torch.dot(walking, jumping) < 0.9  # each window has its own prompt
    assert motion.provenance["prompt"] == "a person walks forward, then someone jumps"
    steps = torch.diff(motion.joints(), dim=0).norm(dim=-1).amax(-1)
    assert steps[45:55].max() < 2 * steps[5:40].max()  # no jump where they meet
    with pytest.raises(RequestError, match="last 80 frames together, the motion 90"):
        method.run(script, options(90), quiet)
    with pytest.raises(RequestError, match="as many of both"):
        PromptSequence(prompts=(WALK,), num_frames=(50, 30))


def test_provenance_is_enough_to_make_it_again(method: Mdm) -> None:
    made = method.run(WALK, SampleOptions(num_frames=40, seed=9, num_steps=3), quiet)
    wrote = made.provenance
    again = method.run(
        Prompt(str(wrote["prompt"])),
        SampleOptions(
            num_frames=int(str(wrote["num_frames"])),
            seed=int(str(wrote["seed"])),
            num_steps=int(str(wrote["num_steps"])),
            guidance_scale=float(str(wrote["guidance_scale"])),
        ),
        quiet,
    )
    assert again.local_rotations.equal(made.local_rotations)
    assert wrote["model_hash"] == method.info.model_hash
    assert not any("time" in key or "date" in key for key in wrote)


def test_a_far_prompt_is_warned_of_and_names_what_is_near(method: Mdm) -> None:
    far = method.run(Prompt("quarterly revenue exceeded expectations"), options(), quiet)
    assert len(far.warnings) == 1
    assert '"a person walks forward"' in far.warnings[0]
    assert method.run(WALK, options(), quiet).warnings == ()


def test_report_is_called_each_step_and_cancels_within_one(method: Mdm) -> None:
    steps: list[int] = []

    def report(step: int, num_steps: int) -> None:
        steps.append(step)
        if step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        method.run(WALK, options(), report)
    assert steps == [1, 2]


def test_video_is_refused_with_a_word(method: Mdm) -> None:
    clip = VideoClip(keypoints=torch.zeros(3, 17, 3), fps=30)
    with pytest.raises(RequestError, match="from text, not from video"):
        method.run(clip, options(), quiet)


def test_checkpoints_that_do_not_fit_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    info, tensors = load_checkpoint(checkpoint)
    cpu = torch.device("cpu")
    changes = {
        "features": replace(info, feature_blocks=(("root_height", 1),)),
        "method pixie": replace(info, method="pixie"),
        "configuration can't be read": replace(info, method_config={"denoiser": {"size": 3}}),
        "own configuration": replace(
            info,
            method_config={
                **info.method_config,
                "denoiser": {**info.method_config["denoiser"], "width": 32},
            },
        ),
    }
    for message, changed in changes.items():
        path = tmp_path / "changed.safetensors"
        save_checkpoint(path, changed, tensors)
        with pytest.raises(CheckpointError, match=message):
            load_method(path, cpu)

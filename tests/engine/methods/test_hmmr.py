"""HMMR as a method: what depends on what, any length, past and future. Weights are random."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from engine.checkpoint import CheckpointError, CheckpointInfo, save_checkpoint
from engine.methods import hmmr as module
from engine.methods import load_method
from engine.methods.base import Cancelled, Prompt, RequestError, SampleOptions, VideoClip
from engine.methods.hmmr import Hmmr, HmmrConfig, HmmrNetwork

CONFIG = HmmrConfig(width=32, regressor_width=24, dilations=(1, 2))
OPTIONS = SampleOptions(num_frames=10_000, seed=0)


def silent(step: int, num_steps: int) -> None:
    pass


@pytest.fixture
def method(tmp_path: Path) -> Hmmr:
    torch.manual_seed(0)
    network = HmmrNetwork(CONFIG)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    tensors = {f"model.{name}": p for name, p in network.named_parameters()}
    info = CheckpointInfo(
        method="hmmr",
        method_config=asdict(CONFIG),
        accepts=("video",),
        fps=20.0,
        feature_blocks=(),
        licence="a test",
    )
    save_checkpoint(tmp_path / "lifter.safetensors", info, tensors)
    loaded = load_method(tmp_path / "lifter.safetensors", torch.device("cpu"))
    assert isinstance(loaded, Hmmr)
    return loaded


def clip(num_frames: int, fps: float = 20.0, **more) -> VideoClip:
    """A standing figure of BlazePose points that sways, in pixels."""
    generator = torch.Generator().manual_seed(0)
    pose = 150 * torch.randn(33, 2, generator=generator) + torch.tensor((960.0, 540.0))
    sway = 30 * torch.sin(torch.arange(num_frames) / 5)[:, None, None]
    keypoints = torch.cat((pose + sway, torch.full((num_frames, 33, 1), 0.9)), dim=-1)
    return VideoClip(keypoints=keypoints, fps=fps, focal_length=2_000.0, **more)


def test_a_frame_depends_on_its_receptive_field_and_no_further() -> None:
    torch.manual_seed(1)
    network = HmmrNetwork(CONFIG)
    field = network.temporal.receptive_field
    assert field == 1 + 2 * 2 * (1 + 2)
    keypoints = torch.rand(1, 60, 22, 3).requires_grad_()
    boxes = torch.rand(1, 60, 3) + 0.1
    mask = torch.ones(1, 60, dtype=torch.bool)
    strip = network.temporal(network.keypoints(keypoints, boxes), mask)
    reading = network.read(strip[:, 30])
    (reading.sixd.sum() + reading.camera.sum() + reading.up.sum()).backward()
    assert keypoints.grad is not None
    touched = keypoints.grad[0].abs().amax((-1, -2)).nonzero()[:, 0]
    assert touched.tolist() == list(range(30 - field // 2, 30 + field // 2 + 1))


def test_frames_past_the_end_change_nothing() -> None:
    torch.manual_seed(2)
    network = HmmrNetwork(CONFIG).eval()
    codes = torch.randn(1, 30, 32)
    mask = torch.ones(1, 30, dtype=torch.bool)
    alone = network.temporal(codes, mask)
    padded = torch.cat((codes, 5 * torch.randn(1, 9, 32)), dim=1)
    longer = torch.cat((mask, torch.zeros(1, 9, dtype=torch.bool)), dim=1)
    torch.testing.assert_close(network.temporal(padded, longer)[:, :30], alone)
    bones = network.read_bones(padded, longer)
    torch.testing.assert_close(bones, network.read_bones(codes, mask))


@pytest.mark.parametrize("num_frames", [1, 2, 7, 90])
def test_clips_of_any_length_are_lifted(method: Hmmr, num_frames: int) -> None:
    motion = method.run(clip(num_frames), OPTIONS, silent)
    assert motion.num_frames == num_frames
    assert motion.joints().isfinite().all()
    assert motion.camera is not None
    assert motion.camera.rotation.shape == (num_frames, 3, 3)
    assert motion.provenance["model"] == "lifter"
    assert motion.provenance["licence"] == "a test"


def test_a_long_clip_in_parts_is_the_clip_in_one(
    method: Hmmr, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = method.run(clip(100), OPTIONS, silent)
    monkeypatch.setattr(module, "CHUNK_FRAMES", 17)
    parts = method.run(clip(100), OPTIONS, silent)
    torch.testing.assert_close(parts.joints(), whole.joints(), atol=1e-4, rtol=0)


def test_missing_keypoints_and_frames_are_lifted(method: Hmmr) -> None:
    some = clip(40)
    some.keypoints[5:9, :, 2] = 0.0
    some.keypoints[:, 25, 2] = 0.0
    some.keypoints[20, 3, 0] = torch.nan
    motion = method.run(some, OPTIONS, silent)
    assert motion.joints().isfinite().all()
    assert any("4 of 40" in line for line in motion.warnings)


def test_the_rate_is_the_models_and_the_options_cut(method: Hmmr) -> None:
    motion = method.run(clip(90, fps=30.0), OPTIONS, silent)
    assert (motion.num_frames, motion.fps) == (60, 20.0)
    cut = method.run(clip(90, fps=30.0), SampleOptions(num_frames=25, seed=3), silent)
    torch.testing.assert_close(cut.joints(), motion.joints()[:25])


def test_single_frames_do_not_know_each_other(method: Hmmr) -> None:
    single = method.single_frame()
    codes = torch.randn(1, 5, 32)
    together = method.network.hallucinate(codes)
    torch.testing.assert_close(together[:, 2], method.network.hallucinate(codes[:, 2]))
    lone = single.run(clip(40), OPTIONS, silent).local_rotations
    assert not torch.allclose(lone, method.run(clip(40), OPTIONS, silent).local_rotations)


def test_past_now_and_future_of_one_picture_and_of_a_clip(method: Hmmr) -> None:
    for num_frames in (1, 21):
        motion = method.predict(clip(num_frames), silent)
        assert (motion.num_frames, motion.fps) == (3, 5.0)
        assert motion.joint_confidence is not None
        steps = motion.local_rotations.diff(dim=0).norm(dim=-1).amax(-1)
        assert (steps > 0).all()
    now, predicted = method.run(clip(1), OPTIONS, silent), method.predict(clip(1), silent)
    upper = [15, 20, 21]  # locking moves legs
    arms = [motion.joints()[:, upper] - motion.joints()[:, :1] for motion in (predicted, now)]
    torch.testing.assert_close(arms[0][1], arms[1][0], atol=1e-4, rtol=0)


def test_words_and_strange_keypoints_are_refused(method: Hmmr) -> None:
    with pytest.raises(RequestError, match="from video, not from text"):
        method.run(Prompt("a person walks"), OPTIONS, silent)
    with pytest.raises(RequestError, match="needs one of"):
        method.run(clip(4, layout="kinect"), OPTIONS, silent)
    with pytest.raises(RequestError, match="17, 3"):
        method.run(clip(4, layout="coco_17"), OPTIONS, silent)


def test_a_cancelled_lift_stops(method: Hmmr) -> None:
    def cancel(step: int, num_steps: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        method.run(clip(4), OPTIONS, cancel)


def test_a_configuration_that_does_not_fit_is_refused() -> None:
    with pytest.raises(CheckpointError, match="can't be read"):
        HmmrConfig.from_header({"width": 32})
    with pytest.raises(CheckpointError, match="1 or more"):
        HmmrConfig.from_header({"width": 0, "dilations": [1]})

"""Figures of lifted motion against hand-made errors, and the lifters' evaluation as a command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.checkpoint import CheckpointInfo
from engine.methods.base import SampleOptions, VideoClip
from engine.motion import proportions
from engine.motion import rotations as rot
from engine.motion.motion import Motion
from tests.trainer.conftest import made_clip
from trainer.__main__ import main
from trainer.data.corpus import Clip
from trainer.evaluation import lifting_metrics as metrics
from trainer.evaluation.lifting import (
    LiftCase,
    make_cases,
    mean_pose,
    measure_lifter,
    measure_mean_pose,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(tmp_path / "cache")
    monkeypatch.setattr("trainer.data.pose_bank.user_cache_dir", lambda *_, **__: folder)


def joints(frames: int = 20) -> torch.Tensor:
    return 0.4 * torch.randn(frames, 22, 3, generator=torch.Generator().manual_seed(0))


def turn(angle: float) -> torch.Tensor:
    return rot.quaternion_to_matrix(rot.axis_angle_to_quaternion(torch.tensor((0.0, angle, 0.0))))


def test_alignment_forgives_what_it_says_and_no_more() -> None:
    true = joints()
    moved = true + torch.tensor((3.0, -1.0, 2.0))
    assert metrics.joint_error(moved, true).max() < 1e-5
    larger = 1.3 * true @ turn(0.7).T + 0.5
    assert metrics.aligned_error(larger, true).max() < 1e-5
    assert metrics.joint_error(larger, true).mean() > 0.1
    assert metrics.scale_aligned_error(1.3 * true, true).max() < 1e-5
    assert metrics.scale_aligned_error(larger, true).mean() > 0.1
    mirrored = true * torch.tensor((-1.0, 1.0, 1.0))
    assert metrics.aligned_error(mirrored, true).mean() > 0.1  # a mirror image is no rotation


def test_aligned_error_is_the_least_that_small_changes_find() -> None:
    true, found = joints(), joints() + 0.1 * joints().flip(0)
    best = metrics.procrustes(found, true)
    error = (best - true).square().sum()
    for change in (best * 1.01, best * 0.99, best @ turn(0.02).T, best + 0.01):
        assert (change - true).square().sum() >= error - 1e-4


def test_motion_errors_have_their_units() -> None:
    time = torch.arange(20.0) / 20
    true = torch.zeros(20, 22, 3)
    shaken = true.clone()
    shaken[:, 5, 1] = 0.5 * 3.0 * time**2  # one joint accelerates at 3 m/s2
    found = metrics.acceleration_error(shaken, true, 20.0)
    torch.testing.assert_close(found, torch.full((18,), 3.0 / 22), rtol=1e-2, atol=0)
    rotations = turn(math.radians(10)).expand(4, 22, 3, 3)
    angle = metrics.rotation_error(rotations, torch.eye(3).expand(4, 22, 3, 3))
    torch.testing.assert_close(angle, torch.full((4,), 10.0), rtol=1e-3, atol=0)
    path = torch.stack((time, 0 * time, 0 * time), dim=-1)
    assert metrics.path_error(1.1 * path + 5, path) == pytest.approx(0.0475, abs=1e-4)
    assert metrics.path_shape_error(1.1 * path + 5, path) < 1e-5
    points = torch.zeros(3, 4, 2)
    points[:, 0, 0] = 0.2
    share = metrics.correct_keypoints(points, torch.zeros(3, 4, 2), torch.ones(3), 0.1)
    torch.testing.assert_close(share, torch.full((3,), 0.75))
    assert metrics.bone_deviation(true + joints(1)) < 1e-6
    assert metrics.bone_deviation(joints()) > 0.05


CLIPS = [Clip(clip_id=f"A{i}", joints=made_clip(i, 40), captions=("walks",)) for i in range(4)]


class Knowing:
    """A lifter that knows the answer, and turns it by a few degrees."""

    accepts = frozenset({"video"})
    info = CheckpointInfo(
        method="knowing", method_config={}, accepts=("video",), fps=20.0, feature_blocks=()
    )

    def __init__(self, cases: list[LiftCase], degrees: float) -> None:
        self._cases, self._angle = iter(cases), math.radians(degrees)

    def run(self, clip: VideoClip, options: SampleOptions, report: object) -> Motion:
        """The truth of the next case."""
        case = next(self._cases)
        windows = case.windows
        local = rot.matrix_to_quaternion(windows.local_rotations[0])
        motion = Motion(
            fps=20.0,
            skeleton=proportions.skeleton_of(windows.log_bones[0]),
            root_translation=windows.joints[0, :, 0],
            local_rotations=local,
            contacts=windows.contacts[0],
            camera=case.seen.camera[0],
        )
        turned = rot.multiply(rot.matrix_to_quaternion(turn(self._angle)), local[:, 0])
        return replace(motion, local_rotations=torch.cat((turned[:, None], local[:, 1:]), dim=1))


def test_a_perfect_lifter_has_no_error_and_a_turned_one_what_it_is_turned_by() -> None:
    cases = make_cases(CLIPS, noisy=True)
    perfect = measure_lifter(Knowing(cases, 0.0), cases)
    for key in ("mpjpe", "pa_mpjpe", "rotation", "path", "bone_error", "acceleration"):
        assert perfect[key].value < 0.1, key
    assert perfect["pck"].value == pytest.approx(100)
    turned = measure_lifter(Knowing(cases, 8.0), cases)
    assert turned["rotation"].value == pytest.approx(8.0, abs=0.1)
    assert turned["mpjpe"].value > 10
    assert turned["pa_mpjpe"].value < 0.5
    assert turned["fps"].value > 0


def test_cases_are_the_same_each_time_and_differ_only_in_noise() -> None:
    noisy, again, exact = (make_cases(CLIPS[:2], noisy=n) for n in (True, True, False))
    assert noisy[1].clip.keypoints.equal(again[1].clip.keypoints)
    assert noisy[1].windows.joints.equal(exact[1].windows.joints)
    torch.testing.assert_close(noisy[1].seen.camera.translation, exact[1].seen.camera.translation)
    assert not noisy[1].clip.keypoints.equal(exact[1].clip.keypoints)
    track = exact[1].clip.track()
    is_seen = track.keypoints[..., 2] > 0
    error = track.keypoints[..., :2] - exact[1].seen.keypoints[0, ..., :2]
    assert error[is_seen].abs().max() < 1e-4  # pixels and back


def test_paths_seen_by_moving_cameras_are_not_measured() -> None:
    cases = make_cases(CLIPS, noisy=True, moving_share=1.0)
    figures = measure_lifter(Knowing(cases, 0.0), cases)
    assert figures["mpjpe"].value < 0.1
    assert not {"path", "path_percent", "skate"} & set(figures)


def test_the_mean_pose_is_no_good_but_no_nonsense() -> None:
    cases = make_cases(CLIPS, noisy=False)
    figures = measure_mean_pose(mean_pose(CLIPS), cases)
    assert 5 < figures["mpjpe"].value < 250
    assert not {"path", "rotation", "fps"} & set(figures)  # told, or not there


def test_evaluate_prints_a_lifters_figures_beside_its_baselines(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, report = tmp_path / "run", tmp_path / "report.json"
    words = ["--data", str(corpus)]
    smoke = ["train", "hmmr-smoke", *words, "--out", str(run), "--set", "loop.num_steps=1"]
    assert main(smoke) == 0
    checkpoint = run / "last.safetensors"
    capsys.readouterr()
    assert main(["evaluate", str(checkpoint), *words, "--json", "--report", str(report)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found == json.loads(report.read_text())
    assert set(found["figures"]) == {
        "last, noisy",
        "last, single frame, noisy",
        "last, exact",
        "last, single frame, exact",
        "mean pose",
    }
    assert found["num_clips"] == 3
    forecast = found["forecast_pa_mpjpe"]["last, single frame, noisy"]
    assert set(forecast) == {"past", "past_stays", "future", "future_stays"}
    assert all(0 < figure["value"] < 500 for figure in forecast.values())
    assert found["figures"]["last, noisy"]["mpjpe"]["value"] > 10
    assert main(["evaluate", str(checkpoint), *words, "--report", str(report)]) == 2
    assert "--overwrite" in capsys.readouterr().err

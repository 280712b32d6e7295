"""The evaluator embeds a clip the same whatever else is in the batch, and survives its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.checkpoint import CheckpointError, CheckpointInfo, save_checkpoint
from engine.motion.skeleton import SMPL_22
from engine.networks.text_encoder import TextFeatures
from trainer.data.corpus import Clip
from trainer.evaluation import evaluator_network as network
from trainer.evaluation.train_evaluator import save_evaluator

SMALL = network.EvaluatorConfig(width=32, embedding_width=8, num_layers=1)


def motion(num_frames: int, seed: int) -> np.ndarray:
    rest = np.array(SMPL_22.rest_joints(), dtype=np.float32)
    noise = np.random.default_rng(seed).normal(0, 0.05, (num_frames, 22, 3))
    return (rest + np.cumsum(noise, axis=0) * 0.2).astype(np.float32)


@pytest.fixture
def evaluator() -> network.Evaluator:
    torch.manual_seed(0)
    return network.Evaluator(SMALL).eval()


def test_a_batch_embeds_as_its_items_do(evaluator: network.Evaluator) -> None:
    motions = [motion(frames, seed) for seed, frames in enumerate((20, 57, 196, 33))]
    together = evaluator.embed_motions(motions)
    alone = np.concatenate([evaluator.embed_motions([item]) for item in motions])
    # float32 sums in another order
    assert together == pytest.approx(alone, abs=1e-4)


def test_embeddings_lie_on_the_sphere(evaluator: network.Evaluator) -> None:
    radius = np.linalg.norm(evaluator.embed_motions([motion(40, 0), motion(60, 1)]), axis=1)
    assert radius == pytest.approx(np.sqrt(8), rel=1e-5)


def test_place_and_facing_make_no_difference(evaluator: network.Evaluator) -> None:
    joints = motion(50, 3)
    turned = joints[..., (2, 1, 0)] * np.float32([1, 1, -1]) + np.float32([4, 0, -2])
    assert evaluator.embed_motions([turned]) == pytest.approx(
        evaluator.embed_motions([joints]), abs=1e-3
    )


def test_padding_of_captions_makes_no_difference(evaluator: network.Evaluator) -> None:
    tokens = torch.randn(2, 7, 384)
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, 4:] = False
    text = TextFeatures(tokens=tokens, mask=mask, sentence=torch.randn(2, 384))
    short = TextFeatures(tokens=tokens[1:, :4], mask=mask[1:, :4], sentence=text.sentence[1:])
    assert torch.allclose(evaluator.caption(text)[1:], evaluator.caption(short), atol=1e-5)


def test_a_file_gives_back_the_evaluator(evaluator: network.Evaluator, tmp_path: Path) -> None:
    clip = Clip(clip_id="A", joints=motion(30, 0), captions=("a",), licence="free")
    saved = save_evaluator(tmp_path / "e.safetensors", evaluator, [clip], {"x": 1}, 0)
    loaded, info = network.load_evaluator(tmp_path / "e.safetensors")
    assert info.model_hash == saved.model_hash
    assert info.metrics == {"x": 1}
    # weights are stored in half precision
    assert loaded.embed_motions([clip.joints]) == pytest.approx(
        evaluator.embed_motions([clip.joints]), abs=0.02
    )


def test_another_kind_of_model_is_refused(evaluator: network.Evaluator, tmp_path: Path) -> None:
    info = CheckpointInfo(
        method="mdm", method_config={}, accepts=("prompt",), fps=20.0, feature_blocks=()
    )
    save_checkpoint(tmp_path / "m.safetensors", info, {"model.x": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="needs an evaluator"):
        network.load_evaluator(tmp_path / "m.safetensors")
    other = replace(info, method=network.METHOD)
    save_checkpoint(tmp_path / "o.safetensors", other, {"model.x": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="other features"):
        network.load_evaluator(tmp_path / "o.safetensors")


def test_a_width_that_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        network.EvaluatorConfig(width=30)


def test_halves_of_the_body_see_their_own_features_alone() -> None:
    lower, upper = network.part_mask("lower"), network.part_mask("upper")
    assert int(lower.sum()) == 4 + 8 * 3 + 9 * 3
    torch.testing.assert_close(lower + upper, network.part_mask("whole"))
    with pytest.raises(ValueError, match="part is 'left'"):
        network.EvaluatorConfig(part="left")
    torch.manual_seed(0)
    half = network.Evaluator(network.EvaluatorConfig(width=16, num_heads=2, part="upper")).eval()
    features = torch.randn(1, 24, len(lower))
    mask = torch.ones(1, 24, dtype=torch.bool)
    first = half.encode_motions(features, mask)
    torch.testing.assert_close(half.encode_motions(features + 3 * lower, mask), first)
    assert (half.encode_motions(features + 3 * upper, mask) - first).abs().max() > 1e-3

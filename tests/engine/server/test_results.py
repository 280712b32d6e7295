from __future__ import annotations

from dataclasses import replace

import numpy as np

from blender_addon import protocol
from engine.server.results import info_to_entry, motion_to_result
from tests.fakes import FAKE_INFO, sine_motion


def test_a_motion_crosses_the_wire_unchanged() -> None:
    motion = replace(sine_motion(7), provenance={"seed": 3}, warnings=("careful",))
    result = motion_to_result(motion, job_id="a", candidate=1, count=2)
    received = protocol.decode(protocol.encode(result))
    assert isinstance(received, protocol.JobResult)
    assert (received.candidate, received.count, received.warnings) == (1, 2, ["careful"])
    assert received.joint_names[0] == "pelvis"
    np.testing.assert_array_equal(received.root_translation, motion.root_translation.numpy())
    np.testing.assert_array_equal(received.local_rotations, motion.local_rotations.numpy())
    np.testing.assert_array_equal(received.contacts, motion.contacts.numpy())
    np.testing.assert_array_equal(
        received.rest_offsets, np.array(motion.skeleton.rest_offsets, dtype=np.float32)
    )
    assert received.provenance == '{"seed": 3}'


def test_a_checkpoint_without_sampling_defaults_is_listed() -> None:
    entry = info_to_entry(replace(FAKE_INFO, sampling={}), is_default=True)
    assert (entry.num_steps, entry.guidance_scale, entry.default) == (0, 0.0, True)
    assert not entry.default_for_video
    lifter = info_to_entry(FAKE_INFO, is_default=False, is_default_lifter=True)
    assert (lifter.default, lifter.default_for_video) == (False, True)


def test_some_captions_are_offered_short_ones_out_of_all() -> None:
    captions = [f"a person does thing {number}." for number in range(500)] + ["x" * 100, ""]
    entry = info_to_entry(replace(FAKE_INFO, extra={"captions": captions}), is_default=True)
    assert 40 <= len(entry.captions) <= 80
    assert entry.captions[0] == "a person does thing 0"
    assert int(entry.captions[-1].split()[-1]) > 480
    assert info_to_entry(FAKE_INFO, is_default=True).captions == []

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

"""BlazePose's networks, asked by several threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
# Only in a fresh process is a question the first one.
TWO_AT_ONCE = """
import threading
import numpy as np
from engine.video.blazepose import DETECTOR_FILE, _Network, weight_files
network = _Network(weight_files()[DETECTOR_FILE], None)
picture = np.zeros(tuple(network._compiled.input(0).shape), np.float32)
start = threading.Barrier(2)
threads = [threading.Thread(target=lambda: (start.wait(), network.ask(picture))) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_two_threads_that_ask_first_do_not_wait_for_each_other() -> None:
    for _ in range(6):  # one process in six hung here
        subprocess.run([sys.executable, "-c", TWO_AT_ONCE], cwd=PROJECT, check=True, timeout=60)

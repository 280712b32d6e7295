"""Tasks in processes and on a Ray cluster: results, errors, crashes, and the end."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from trainer.spread import Finished, Progress, SpreadError, run_in_processes, run_on_ray

TIMEOUT_S = 60.0


def work(number: int, report: Callable[[float], None]) -> Any:
    if number == 3:
        raise ValueError("three\nis wrong")
    if number == 5:
        os._exit(7)
    if number == 99:
        time.sleep(TIMEOUT_S)
    report(0.5)
    return number * number, os.environ["OMP_NUM_THREADS"]


@pytest.mark.parametrize("count", [1, 3])
def test_every_task_has_its_result_or_says_why_not(count: int) -> None:
    told = list(run_in_processes(work, range(7), count))
    ends = {one.index: one for one in told if isinstance(one, Finished)}
    assert sorted(ends) == list(range(7))
    assert {k: ends[k].result for k in (0, 1, 2, 4, 6)} == {
        k: (k * k, "1") for k in (0, 1, 2, 4, 6)
    }
    assert ends[3].error == "three is wrong"
    assert "exit code 7" in ends[5].error
    assert Progress(index=2, done=0.5) in told


def test_closing_ends_the_processes() -> None:
    before = set(multiprocessing.active_children())
    with closing(run_in_processes(work, [1, 99, 99], 2)) as results:
        next(results)
        assert set(multiprocessing.active_children()) - before
        began = time.monotonic()
    assert time.monotonic() - began < 20
    assert not set(multiprocessing.active_children()) - before


def test_ray_that_is_missing_or_not_there_gives_a_line() -> None:
    with pytest.raises(SpreadError, match=r"pip install|no Ray cluster"):
        list(run_on_ray(work, [1], "127.0.0.1:1"))


@contextmanager
def two_nodes() -> Iterator[str]:
    """A cluster of two nodes on this computer, with a core each."""
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "240")  # on a busy computer
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    cluster_utils = pytest.importorskip(
        "ray.cluster_utils", reason="the package ray isn't installed: pip install 'marey[ray]'"
    )
    cluster = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes(timeout=4 * TIMEOUT_S)  # as long as a node may take to start
        yield cluster.address
    finally:
        cluster.shutdown()


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own, of its ways with processes and files
def test_a_cluster_of_two_nodes_gives_what_processes_give() -> None:
    with two_nodes() as address:
        found = list(run_on_ray(work, [0, 1, 2, 3, 4], address))
    ends = {one.index: one for one in found if isinstance(one, Finished)}
    assert {k: ends[k].result for k in (0, 1, 2, 4)} == {k: (k * k, "1") for k in (0, 1, 2, 4)}
    assert "three is wrong" in ends[3].error

"""Fixtures that every test may ask for by name, how many examples property tests try, and where files are written.

`HYPOTHESIS_PROFILE=thorough make test` tries ten times as many, which takes more than the suite's ten minutes.
"""

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import pytest
from hypothesis import HealthCheck, settings

from tests.cli_world import here
from tests.databases import postgres, store, url
from tests.gateway_world import clock, fake

if TYPE_CHECKING:
    import dagster as dg

__all__ = ["clock", "fake", "here", "postgres", "store", "url"]

# What a property test tries unless it says otherwise: enough to find what is often wrong, in minutes for all of them.
# An example that takes long on a busy machine is no finding.
settings.register_profile("suite", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", settings.get_profile("suite"), max_examples=400)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

# No test pulls the plug on the machine, and the databases of thousands of homes wait 5 ms for the disk at each commit.
MEMORY = Path("/dev/shm")
# A session writes half a gigabyte; pytest keeps three.
ENOUGH_BYTES = 4 << 30
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ENOUGH_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
# Objects between two looks for cycles among the youngest: a run of Dagster makes a hundred thousand.
YOUNGEST = 50_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run Dagster or processes come first: one that was last would leave the other worker idle.

    They come in no order of their names, since neighbours by name want the same home, and one would wait for the other.
    """
    long = {
        item.path for item in items if item.get_closest_marker("slow") or hasattr(getattr(item, "module", None), "dg")
    }
    items.sort(key=lambda item: (0, crc32(item.path.name.encode())) if item.path in long else (1, 0))


def pytest_collection_finish() -> None:
    """Look for garbage among what tests make, not among modules and tests: otherwise a fifth of the suite's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNGEST, 20, 20)


def pytest_unconfigure() -> None:
    gc.unfreeze()


@pytest.fixture
def instance() -> "Iterator[dg.DagsterInstance]":
    """Dagster's storage in memory."""
    # Most tests know no Dagster, and importing it takes seconds.
    from tests.instances import fresh_instance

    with fresh_instance() as found:
        yield found

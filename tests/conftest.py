"""Fixtures that every test may ask for by name, and how many examples property tests try.

`HYPOTHESIS_PROFILE=thorough make test` tries ten times as many, which takes more than the suite's ten minutes.
"""

import os

from hypothesis import settings

from tests.cli_world import here
from tests.databases import postgres, store, url
from tests.gateway_world import clock, fake

__all__ = ["clock", "fake", "here", "postgres", "store", "url"]

# What a property test tries unless it says otherwise: enough to find what is often wrong, in minutes for all of them.
settings.register_profile("suite", max_examples=25)
settings.register_profile("thorough", max_examples=400)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

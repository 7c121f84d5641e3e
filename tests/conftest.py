"""Fixtures that every test may ask for by name."""

from tests.databases import postgres, url
from tests.gateway_world import clock, fake

__all__ = ["clock", "fake", "postgres", "url"]

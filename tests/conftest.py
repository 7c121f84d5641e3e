"""Fixtures that every test may ask for by name."""

from tests.databases import postgres, url

__all__ = ["postgres", "url"]

"""The domain of Magpie: plain Python over Polars frames.

Belongs here: rules, formats, storage, settings, the command line. Does not belong here: any orchestrator;
import-linter fails the build when a module below imports one.
"""

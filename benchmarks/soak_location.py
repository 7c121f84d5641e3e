"""The code location of the soak: the project's own, whose way outside ends on loopback.

Belongs here: the location that the soak's processes load. Does not belong here: anything else; importing it as a module
of the soak itself would need an environment that is not there yet.
"""

from benchmarks.soak_outside import overrides
from definitions import build_definitions
from magpie.settings import load_settings

_settings = load_settings()
defs = build_definitions(_settings, **overrides(_settings))

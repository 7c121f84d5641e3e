"""What of the soak's code location reaches outside: VK and the alerts' webhook are servers on loopback.

Belongs here: those resources. Does not belong here: assets, jobs, sensors and the engine, which are the project's own.
"""

import os
from typing import Any

from magpie.blobs import Blobs
from magpie.control import Control
from magpie.lake import Lake
from magpie.memes.live import Fetcher
from magpie.memes.stages import Curator
from magpie.settings import Settings
from magpie.sources.web import Web
from magpie.utc import utc_now

CHANNELS = "SOAK_CHANNELS"


def overrides(settings: Settings) -> dict[str, Any]:
    """Resources that may reach addresses of this machine; constructing them opens nothing."""
    lake = Lake(settings.lake_root, settings.storage_options())
    control, blobs, web = Control(settings.control_database), Blobs(settings.blobs), Web(private=True)
    return {
        "alert_web": web,
        "curator": Curator(settings, lake, control, blobs, web, utc_now),
        "fetcher": Fetcher(settings, lake, control, web, blobs, bases={"vk": os.environ[CHANNELS]}),
    }

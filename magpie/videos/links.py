"""Addresses that open a video at a second.

Belongs here: how such an address is written. Does not belong here: which second of which video (the rules beside this
module).
"""

WATCH = "https://www.youtube.com/watch?v="


def deep_link(video_id: str, seconds: int | None) -> str:
    """Return the address of a video, opened at so many seconds from its start; at the start where that is unknown."""
    return f"{WATCH}{video_id}" if seconds is None else f"{WATCH}{video_id}&t={seconds}s"

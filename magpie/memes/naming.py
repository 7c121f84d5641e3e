"""Ids of sources and memes.

Belongs here: how they are put together and taken apart. Does not belong here: what they stand for.
"""

from magpie.memes.tables import PREFIXES

_PLATFORM = {prefix: platform for platform, prefix in PREFIXES.items()}


def source_id_of(platform: str, name: str) -> str:
    """`tg:name`."""
    return f"{PREFIXES[platform]}:{name}"


def platform_of(source_id: str) -> str:
    """The platform whose prefix the id has.

    Raises:
        ValueError: it has none of them.
    """
    prefix = source_id.partition(":")[0]
    if prefix not in _PLATFORM:
        raise ValueError(f"{source_id!r} is no id of a source; it begins with {', '.join(_PLATFORM)} and a colon")
    return _PLATFORM[prefix]


def name_of(source_id: str) -> str:
    """What the platform calls the source."""
    return source_id.partition(":")[2]


def meme_id_of(source_id: str, post_id: str) -> str:
    """`telegram:name:17`."""
    return f"{platform_of(source_id)}:{name_of(source_id)}:{post_id}"


def media_item(meme_id: str, ord: int) -> str:
    """One medium of a meme, as the log of fetches names it."""
    return f"{meme_id}#{ord}"

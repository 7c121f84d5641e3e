"""Which reader a payload is for.

Belongs here: telling formats apart by platform and content, and how large a payload may be. Does not belong here: the
formats themselves (the readers), finding payloads and keeping what was read (`magpie/memes`).
"""

import re

from magpie.sources import instagram_items, telegram_export, telegram_web, upload_payload, vk_wall
from magpie.sources.meme_posts import Payload, PayloadError

__all__ = ["MAX_BYTES", "MAX_PAGE_BYTES", "PayloadError", "read_payload"]

# JSON is read as a whole and takes several times its size in memory.
MAX_BYTES = 256 << 20
# A page holds some twenty posts without their media; searching markup that is no such page takes long.
MAX_PAGE_BYTES = 4 << 20
# After a byte order mark and white space.
_FIRST = re.compile(rb"[^\xef\xbb\xbf\s]")


def read_payload(content: bytes, platform: str, name: str, *, vk_text_max: int) -> tuple[str, Payload]:
    """The format of a payload and what it holds.

    Args:
        content: the file or answer.
        platform: telegram, vk, instagram or upload.
        name: the source as its platform knows it.
        vk_text_max: characters from which on a text of VK is too long for a meme.

    Returns:
        telegram_export, telegram_web, vk_wall, instagram or upload, and the payload; one bad post is one row of it.

    Raises:
        PayloadError: too_large, empty, unknown_platform, or what the reader has against it.
    """
    if len(content) > MAX_BYTES:
        raise PayloadError("too_large", f"it has {len(content)} bytes, allowed are {MAX_BYTES}; export a shorter time")
    first = _FIRST.search(content)
    if first is None:
        raise PayloadError("empty", "there is nothing in it")
    if platform == "telegram" and first[0] in (b"{", b"["):
        return "telegram_export", telegram_export.read(content, name)
    if platform == "telegram":
        if len(content) > MAX_PAGE_BYTES:
            raise PayloadError("too_large", f"a page of {len(content)} bytes, allowed are {MAX_PAGE_BYTES}")
        return "telegram_web", telegram_web.read(content, name)
    if platform == "vk":
        return "vk_wall", vk_wall.read(content, vk_text_max)
    if platform == "instagram":
        return "instagram", instagram_items.read(content)
    if platform == "upload":
        return "upload", upload_payload.read(content)
    raise PayloadError("unknown_platform", f"no reader for {platform!r}")

"""Small JPEGs of pictures.

Belongs here: shrinking, two beside each other, data addresses. Does not belong here: what is shown where.

Equal pictures give equal bytes: no metadata, one quality, no optimising pass.
"""

import base64
import io

from PIL import Image

from magpie.media.opening import Unusable, UnusableMedia, opened

# What vision models read without scaling it down themselves.
VISION_PX = 1280
VISION_QUALITY = 90
QUALITY = 80
GAP_PX = 8
# What Pillow takes for thumbnails: sharp enough, and boxes to twice the size first, which the eye does not see.
FILTER, REDUCING_GAP = Image.Resampling.BICUBIC, 2.0


def jpeg(picture: Image.Image, max_px: int, quality: int = QUALITY) -> bytes:
    """Return an RGB picture as a JPEG of at most `max_px` on its long side; a small one is not enlarged."""
    return _encoded(_shrunk(picture, max_px), quality)


def thumbnail(content: bytes, max_px: int) -> bytes:
    """Return a JPEG of at most `max_px` pixels on the long side; of an animation its first frame.

    Raises:
        UnusableMedia: there is no picture in the bytes; of a video a frame has to be taken first.
    """
    return jpeg(_picture(content), max_px)


def for_vision(content: bytes) -> bytes:
    """Return the picture as a model sees it: JPEG, at most 1280 pixels on the long side, no metadata.

    Raises:
        UnusableMedia: as `thumbnail`.
    """
    return jpeg(_picture(content), VISION_PX, VISION_QUALITY)


def side_by_side(left: bytes, right: bytes, height_px: int) -> bytes:
    """Return two pictures of one height beside each other as a JPEG.

    Raises:
        UnusableMedia: as `thumbnail`.
    """
    pair = [_of_height(_picture(content), height_px) for content in (left, right)]
    both = Image.new("RGB", (pair[0].width + GAP_PX + pair[1].width, height_px), (255, 255, 255))
    both.paste(pair[0], (0, 0))
    both.paste(pair[1], (pair[0].width + GAP_PX, 0))
    return _encoded(both, QUALITY)


def data_uri(content: bytes) -> str:
    """`data:image/jpeg;base64,...`, which Markdown shows in place."""
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()


def _picture(content: bytes) -> Image.Image:
    found = opened(content)
    if isinstance(found, Unusable):
        raise UnusableMedia(found)
    if found.picture is None:
        raise UnusableMedia(Unusable("no_picture", found.mime, None, found.mime))
    return found.picture


def _shrunk(picture: Image.Image, max_px: int) -> Image.Image:
    long = max(picture.size)
    if long <= max_px:
        return picture
    width, height = (max(1, round(side * max_px / long)) for side in picture.size)
    return picture.resize((width, height), FILTER, reducing_gap=REDUCING_GAP)


def _of_height(picture: Image.Image, height_px: int) -> Image.Image:
    width = max(1, round(picture.width * height_px / picture.height))
    return picture.resize((width, height_px), FILTER, reducing_gap=REDUCING_GAP)


def _encoded(picture: Image.Image, quality: int) -> bytes:
    out = io.BytesIO()
    # Pillow would copy metadata it finds in the picture's own.
    picture.save(out, "JPEG", quality=quality, exif=b"", icc_profile=None, comment=b"")
    return out.getvalue()

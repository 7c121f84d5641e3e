"""Which images an article has, in which sizes and in which order.

Belongs here: the slots that follow from the settings. Does not belong here: what the images show
(`image_prompts.py`), making them (`article_images.py`), sizes that a model makes (`magpie/llm/image_sizes.py`).
"""

from dataclasses import dataclass

from magpie.content.settings import Content
from magpie.content.tables import IMAGE_TYPES
from magpie.llm.image_sizes import Size, parsed


@dataclass(frozen=True)
class Slot:
    """A place for one image.

    Attributes:
        image_type: one of `IMAGE_TYPES`.
        position: among those of its type, from 0.
        width, height: as wanted, in pixels.
    """

    image_type: str
    position: int
    width: int
    height: int


@dataclass(frozen=True)
class SlotRules:
    """How many images of each type an article has, and their sizes.

    Attributes:
        counts, sizes: by type; a type that is switched off has none.
    """

    counts: dict[str, int]
    sizes: dict[str, Size]

    @classmethod
    def of(cls, settings: Content) -> "SlotRules":
        counts = {
            "featured": 1,
            "desktop": int(settings.desktop_enabled),
            "mobile": int(settings.mobile_enabled),
            "in_article": settings.max_in_article_images,
        }
        sizes = {
            "featured": parsed(settings.featured_size),
            "desktop": parsed(settings.desktop_size),
            "mobile": parsed(settings.mobile_size),
            "in_article": parsed(settings.in_article_size),
        }
        return cls(counts, sizes)

    def slots(self) -> tuple[Slot, ...]:
        """Every slot of an article, in the order in which they are filled: featured first, in-article images last."""
        return tuple(
            Slot(image_type, position, *self.sizes[image_type])
            for image_type in IMAGE_TYPES
            for position in range(self.counts[image_type])
        )


def slots(settings: Content) -> tuple[Slot, ...]:
    """Every slot of an article under these settings, in the order in which they are filled."""
    return SlotRules.of(settings).slots()

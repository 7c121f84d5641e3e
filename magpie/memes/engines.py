"""Engines: the ways in which memes are proposed to a person, each a filter and a score.

Belongs here: filters, scores, what demotes or blocks a source, and the order of proposals. Does not belong here: which
engines are used when (`plans.py`), how their proposals are mixed (`blend.py`).

Notation of the scores: L, D and S are likes, dislikes and sends of the meme, aff is how the person likes its source,
(likes + 1) / (likes + dislikes + 1), or 0.5 where they have not met it. Freshness is never rewarded: older memes have
the higher like rate. What is not known (rank, seconds, words) satisfies no filter and earns no bonus.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from magpie.memes.base import DAY_US, micros
from magpie.memes.catalogue import Catalogue, Floats, Mask
from magpie.memes.people import Person
from magpie.memes.settings import Memes

Places = npt.NDArray[np.intp]

# Affinity to a source that the person has not met.
NEUTRAL = 0.5
# A meme that newcomers are to judge by has been sent this often.
TRIED = 10
# More words than these take longer to read than a newcomer looks.
FEW_WORDS = 30
# What a source that a person dislikes is scaled by, and after how many reactions on it.
DEMOTED, DEMOTED_FROM = 0.15, 5
# A source with three dislikes to a like after this many reactions is blocked.
BLOCKED_FROM, BLOCKED_RATIO = 15, 3
# What a newcomer's latest sends on a source add up to, and the least that is left of a source.
START, LIKED, OTHER, LEAST = 0.5, 1.0, -0.5, 0.1
# goat: what is missing costs a share of the score.
SLOW, UNSHARED, NOT_TOP = 0.6, 0.8, 0.8
READ_SECONDS = (2.0, 10.0)
GOAT_DAYS = 3


@dataclass(frozen=True)
class EngineRules:
    """How many memes an engine proposes, and which modifiers are on."""

    limit: int
    soft_demote: bool
    hard_block: bool
    source_diversity: bool

    @classmethod
    def of(cls, settings: Memes) -> "EngineRules":
        return cls(settings.refill_n, settings.soft_demote, settings.hard_block, settings.source_diversity)


@dataclass(frozen=True)
class Offer:
    """One proposal of an engine; the one ranked first is its best."""

    meme_id: str
    score: float
    language: str


@dataclass(frozen=True)
class Ranked:
    """Places in the catalogue that an engine lets through, and what they rank by: higher first, first key first."""

    places: Places
    keys: tuple[Floats, ...]


@dataclass(frozen=True)
class Reach:
    """What of a catalogue a person may be sent, and how they like its sources.

    Args:
        cold: the person is new here: only memes that were tried before are shown by their ratings.
    """

    catalogue: Catalogue
    person: Person
    rules: EngineRules
    cold: bool = False

    @cached_property
    def _allowed(self) -> Mask:
        allowed = self.catalogue.in_languages(self.person.profile.languages)
        allowed &= ~self.catalogue.among(self.person.queued)
        if self.rules.hard_block:
            allowed &= ~self._blocked[self.catalogue.source]
        return allowed

    @cached_property
    def open(self) -> Mask:
        """Never seen, not queued, in the person's languages."""
        return self._allowed & ~self.catalogue.among(self.person.seen)

    @cached_property
    def open_again(self) -> Mask:
        """The same, but for memes seen long ago."""
        return self._allowed & ~self.catalogue.among(self.person.seen_lately)

    @cached_property
    def met_sources(self) -> Mask:
        """By number of a source, whether the person has met a meme of it."""
        return self.catalogue.by_source(dict.fromkeys(self.person.sources, 1.0), 0.0) > 0

    @cached_property
    def affinity(self) -> Floats:
        """By number of a source."""
        values = {name: affinity(likes, dislikes) for name, (likes, dislikes) in self.person.sources.items()}
        return self.catalogue.by_source(values, NEUTRAL)

    @cached_property
    def adapted(self) -> Floats:
        """By number of a source, what the latest sends say of it."""
        names = {source for source, _ in self.person.last_sends}
        values = {name: adapt([liked for source, liked in self.person.last_sends if source == name]) for name in names}
        return self.catalogue.by_source(values, adapt([]))

    @cached_property
    def demoted(self) -> Mask:
        """By number of a source."""
        return self._sources(lambda likes, dislikes: likes + dislikes >= DEMOTED_FROM and dislikes > likes)

    @cached_property
    def _blocked(self) -> Mask:
        return self._sources(
            lambda likes, dislikes: likes + dislikes >= BLOCKED_FROM and dislikes >= BLOCKED_RATIO * likes
        )

    def _sources(self, condition: Callable[[int, int], bool]) -> Mask:
        chosen = [name for name, counts in self.person.sources.items() if condition(*counts)]
        return self.catalogue.by_source(dict.fromkeys(chosen, 1.0), 0.0) > 0


def affinity(likes: int, dislikes: int) -> float:
    """How a person likes a source they have met."""
    return (likes + 1) / (likes + dislikes + 1)


def adapt(liked: Sequence[bool]) -> float:
    """What a newcomer's latest sends on a source say of it: likes add more than anything else takes away."""
    return max(LEAST, START + sum(LIKED if like else OTHER for like in liked))


def scale(score: Floats, factor: Floats | float) -> Floats:
    """Multiply what is good and divide what is bad, so that a factor below 1 lifts neither."""
    return np.where(score >= 0, score * factor, score / factor)


def _at(mask: Mask) -> Places:
    return np.flatnonzero(mask)


def best_uploaded(c: Catalogue, reach: Reach) -> Ranked:
    """Uploads: aff * (L + 1) / (L + D + 1)."""
    at = _at(reach.open & c.upload)
    likes, dislikes = c.likes[at], c.dislikes[at]
    return Ranked(at, (reach.affinity[c.source[at]] * (likes + 1) / (likes + dislikes + 1),))


def like_spread(c: Catalogue, reach: Reach) -> Ranked:
    """The most viewed of their sources, if liked: (L - D) / (S + 1)."""
    at = _at(reach.open & (c.likes > c.dislikes) & (c.raw_rank == 0))
    return Ranked(at, ((c.likes[at] - c.dislikes[at]) / (c.sent[at] + 1),))


def _rated(c: Catalogue, reach: Reach) -> Mask:
    tried = c.likes > 1
    return reach.open & tried & (c.sent >= TRIED) if reach.cold else reach.open & tried


def lr_smoothed(c: Catalogue, reach: Reach) -> Ranked:
    """Liked more than once: lr_smoothed, scaled by aff. A newcomer sees those that were tried."""
    at = _at(_rated(c, reach))
    return Ranked(at, (scale(c.lr_smoothed[at], reach.affinity[c.source[at]]),))


def lr_light(c: Catalogue, reach: Reach) -> Ranked:
    """The same, of memes that are read at a glance."""
    at = _at(_rated(c, reach) & _light(c))
    return Ranked(at, (scale(c.lr_smoothed[at], reach.affinity[c.source[at]]),))


def _light(c: Catalogue) -> Mask:
    return (c.words >= 0) & (c.words <= FEW_WORDS)


def es_ranked(c: Catalogue, reach: Reach) -> Ranked:
    """Engaging ones: aff * engagement."""
    at = _at(reach.open & (c.engagement > 0))
    return Ranked(at, (reach.affinity[c.source[at]] * c.engagement[at],))


def goat(c: Catalogue, reach: Reach) -> Ranked:
    """The greatest of all time, of sources the person has met; may come again after 30 days.

    (L - D) / (S + 1) * lr_smoothed * (L + D) / (S + 1), a share less where people react too fast or too slowly, nobody
    was invited by it, or it is not among the most viewed; times the share of the source's sends that got a reaction,
    times aff.
    """
    old = micros(reach.person.at) - c.published_us >= GOAT_DAYS * DAY_US
    proven = (c.likes + c.dislikes >= 10) & (c.lr_smoothed >= 0.20)
    at = _at(reach.open_again & proven & old & reach.met_sources[c.source])
    likes, dislikes, sent, source = c.likes[at], c.dislikes[at], c.sent[at] + 1, c.source[at]
    in_time = (c.sec_to_react[at] >= READ_SECONDS[0]) & (c.sec_to_react[at] <= READ_SECONDS[1])
    score = (likes - dislikes) / sent * c.lr_smoothed[at] * ((likes + dislikes) / sent)
    score = score * np.where(in_time, 1.0, SLOW) * np.where(c.invited[at] > 0, 1.0, UNSHARED)
    score = score * np.where(c.raw_rank[at] == 0, 1.0, NOT_TOP)
    reacted = (c.source_likes[source] + c.source_dislikes[source]) / (c.source_sent[source] + 1)
    return Ranked(at, (score * reacted * reach.affinity[source],))


def recently_liked(c: Catalogue, reach: Reach) -> Ranked:
    """What several people among the latest likes like."""
    at = _at(reach.open & (c.recent_likes > 1))
    return Ranked(at, (c.recent_likes[at].astype(np.float64),))


def cold_explore(c: Catalogue, reach: Reach) -> Ranked:
    """For somebody of whom nothing is known: what most people like, and is read at a glance."""
    reactions = c.likes + c.dislikes
    liked = (reactions >= 25) & (c.lr_smoothed >= 0.10) & (2 * c.likes >= reactions)
    at = _at(reach.open & liked & _light(c))
    return Ranked(at, (c.lr_smoothed[at], reactions[at].astype(np.float64)))


def cold_adapt(c: Catalogue, reach: Reach) -> Ranked:
    """For a newcomer: lr_smoothed of memes that were tried, scaled by what the latest sends say of the source."""
    at = _at(reach.open & (c.likes > 1) & (c.sent >= TRIED))
    return Ranked(at, (scale(c.lr_smoothed[at], reach.adapted[c.source[at]]),))


def low_sent(c: Catalogue, reach: Reach) -> Ranked:
    """For moderators: what has the fewest reactions, then the fewest sends; the bad ones left out."""
    reactions = c.likes + c.dislikes
    # Whole numbers: liked by less than 15 %.
    bad = (reactions >= 10) & (20 * c.likes < 3 * reactions)
    at = _at(_for_moderators(reach) & ~bad)
    return Ranked(at, (-reactions[at].astype(np.float64), -c.sent[at].astype(np.float64)))


def viral(c: Catalogue, reach: Reach) -> Ranked:
    """What brings people: invited / ln(S + e)."""
    at = _at(reach.open & (c.invited > 0) & (c.sent >= 20) & (c.lr_smoothed >= 0.05))
    # Not np.log, whose last bit may depend on the place in the array.
    logs = np.array([math.log(sent + math.e) for sent in c.sent[at].tolist()], dtype=np.float64)
    return Ranked(at, (c.invited[at] / logs,))


def last_resort(c: Catalogue, reach: Reach) -> Ranked:
    """For moderators: the newest."""
    at = _at(_for_moderators(reach))
    return Ranked(at, (c.published_us[at] / 1e6,))


def _for_moderators(reach: Reach) -> Mask:
    return reach.open if reach.person.profile.moderates else np.zeros_like(reach.open)


Engine = Callable[[Catalogue, Reach], Ranked]
ENGINES: Mapping[str, Engine] = {
    engine.__name__: engine
    for engine in (
        *(best_uploaded, like_spread, lr_smoothed, lr_light, es_ranked, goat, recently_liked),
        *(cold_explore, cold_adapt, low_sent, viral, last_resort),
    )
}


def offers(engine: Engine, reach: Reach) -> list[Offer]:
    """Return what an engine proposes to a person, best first, at most `limit`.

    Of equal scores the newer comes first, then the one whose id is first.
    """
    c, rules = reach.catalogue, reach.rules
    ranked = engine(c, reach)
    score = ranked.keys[0]
    if rules.soft_demote and reach.demoted.any():
        score = np.where(reach.demoted[c.source[ranked.places]], scale(score, DEMOTED), score)
    chosen = best((score, *ranked.keys[1:]), rules.limit)
    if rules.source_diversity:
        chosen = _spread(chosen, c.source[ranked.places[chosen]].tolist())
    memes = c.memes[ranked.places[chosen]]
    told = zip(memes["meme_id"], score[chosen].tolist(), memes["language"], strict=True)
    return [Offer(meme_id, value, language) for meme_id, value, language in told]


def best(keys: Sequence[Floats], limit: int) -> Places:
    """Return where the highest keys are, highest first; of equal ones the first in the array."""
    places = np.arange(len(keys[0]))
    if len(places) > limit > 0:
        # Sorting all of a large catalogue takes longer than all that is done with the result.
        bound = np.partition(keys[0], -limit)[-limit]
        above, equal = np.flatnonzero(keys[0] > bound), np.flatnonzero(keys[0] == bound)
        room = limit - len(above)
        if len(keys) > 1:
            equal = equal[best([key[equal] for key in keys[1:]], room)]
        places = np.sort(np.concatenate([above, equal[:room]]))
    order = np.lexsort([-key[places] for key in reversed(keys)])
    return places[order][:limit]


def _spread(chosen: Places, sources: list[int]) -> Places:
    """The first of each source first, in the order they had; then the others in theirs."""
    first = {source: place for place, source in reversed(list(enumerate(sources)))}
    order = sorted(range(len(sources)), key=lambda place: first[sources[place]] != place)
    return chosen[order]

"""The sections of magpie.yaml that persona has: blogs, and how an author bot for them reads, feels, writes and posts.

Belongs here: their shape, defaults, presets and the line that says what is wrong with a value. Does not belong here:
what a setting does (the rules), and where the sections stand in the file (`magpie/settings.py`).
"""

from datetime import date, datetime
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from magpie.strict import FunctionChoice, Strict

# A blog's name is part of a host name and of partition keys.
BlogName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]
Probability = Annotated[float, Field(ge=0, le=1)]
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$")]
Strategy = Literal["eps_greedy", "argmax", "proportional", "winnowed", "uniform"]


class MoodChange(Strict):
    """From a moment on the mood follows other numbers; what is None stays as it was."""

    at: datetime
    tau1_h: float | None = Field(default=None, gt=0, le=1000)
    tau2_h: float | None = Field(default=None, gt=0, le=1000)
    centre: float | None = Field(default=None, ge=-20, le=20)
    mult: float | None = Field(default=None, ge=-20, le=20)

    @field_validator("at")
    @classmethod
    def _zoned(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            raise ValueError("write it with its time zone, as 2026-11-01T00:00:00Z")
        return value


class Tuning(Strict):
    """The numbers of one author; the defaults are the preset 2023."""

    # Hours in which the offset, and its rate, fall to 1/e.
    mood_tau1_h: float = Field(default=4.0, gt=0, le=1000)
    mood_tau2_h: float = Field(default=1.0, gt=0, le=1000)
    # Logit at which an input moves nothing; 0.4 makes a neutral input almost free of a kick.
    mood_centre: float = Field(default=0.4, ge=-20, le=20)
    mood_mult: float = Field(default=2 / 3, ge=-20, le=20)
    # Of the day: one of three, as the value of a logistic scale.
    mood_base_options: tuple[float, float, float] = (0.535, 0.70, 0.80)
    # Kicks older than this have died away.
    mood_window_h: float = Field(default=60, gt=0, le=1000)
    mood_gain: float = Field(default=0.15, ge=0, le=10)
    mood_changes: tuple[MoodChange, ...] = ()
    n_answer: int = Field(default=5, ge=1, le=20)
    n_original: int = Field(default=4, ge=1, le=20)
    n_fiction: int = Field(default=2, ge=1, le=20)
    # How much of the share that the mood will turn away is written in advance.
    n_scale: float = Field(default=0.4, ge=0, le=5)
    # in_range: texts kept from before that suit the mood save new ones, before scaling; all: all of them, after it.
    retained_discount: Literal["in_range", "all"] = "in_range"
    eps_answer: Probability = 0.075
    eps_original: Probability = 0.15
    strategy: Strategy = "eps_greedy"
    retention_cutoff: Probability = 0.45
    autoreview_accept: Probability = 0.154
    autoreview_accept_original: Probability = 0.179
    # None: no text is sent to a human for this alone.
    autoreview_flag: Probability | None = 0.35
    autoreview_reject: Probability = 0.605
    # Shares of human decisions that the cuts of a trained model may get wrong.
    autoreview_false_accept: Probability = 0.0875
    autoreview_false_reject: Probability = 0.03
    tweak_quotes: float = Field(default=-0.30, ge=-1, le=1)
    tweak_removed_image: float = Field(default=-0.25, ge=-1, le=1)
    tweak_missing_text: float = Field(default=-0.60, ge=-1, le=1)
    tweak_image: float = Field(default=0.0, ge=-1, le=1)
    tweak_animated: float = Field(default=0.0, ge=-1, le=1)
    # Where a candidate has an image, the best is taken without exploring.
    argmax_with_image: bool = False
    # Fewer words than the first are never enough, fewer than the second not in half the draws.
    min_words_answer: int = Field(default=1, ge=0, le=1000)
    min_words_answer_half: int = Field(default=3, ge=0, le=1000)
    min_words_original: int = Field(default=3, ge=0, le=1000)
    min_words_fiction: int = Field(default=75, ge=0, le=5000)
    # What a conversation costs the reader; above stop_cost it is left.
    cost_word: float = Field(default=0.1, ge=0, le=10)
    cost_words_max: int | None = Field(default=50, ge=1)
    cost_few: float = 6
    cost_short: float = 10
    # Words up to which cost_short is asked.
    cost_short_words: int = Field(default=1, ge=0, le=100)
    cost_year_in_review: float = 15
    cost_counts_ask: bool = True
    stop_cost: float = 13
    queue_below: int = Field(default=24, ge=0, le=1000)
    posts_per_day: int = Field(default=12, ge=1, le=250)
    queue_from: Clock = "08:00"
    queue_to: Clock = "24:00"
    # ratio: exp(delta)*exp(u*ln 4) at least dash_gate; delta: the lift itself above it.
    dash_gate_kind: Literal["ratio", "delta"] = "ratio"
    dash_gate: float = 0.75
    dash_min_gain: float = Field(default=0.0, ge=-1, le=1)
    text_form: Literal["2023", "2022"] = "2023"
    step_max: int = Field(default=5, ge=1, le=100)
    redo_max: int = Field(default=3, ge=0, le=10)
    ask_min_words: int = Field(default=2, ge=0, le=100)
    max_wait_d: int = Field(default=7, ge=1, le=9)
    ocr_min_conf_vision: Probability = 0.95
    ocr_min_conf_local: Probability = 0.80
    tick_peak_s: int = Field(default=60, ge=10, le=3600)
    tick_off_s: int = Field(default=300, ge=10, le=3600)
    # Posts a day, where Tumblr does not say how many are left.
    post_limit: int = Field(default=250, ge=1, le=1000)

    @model_validator(mode="after")
    def _fits(self) -> "Tuning":
        if self.queue_from >= self.queue_to:
            raise ValueError("queue_from must be before queue_to")
        if any(not 0 < option < 1 for option in self.mood_base_options):
            raise ValueError("mood_base_options must lie between 0 and 1")
        if self.autoreview_accept > self.autoreview_reject:
            raise ValueError("autoreview_accept must not be above autoreview_reject")
        return self


PRESETS: dict[str, dict[str, Any]] = {
    "2023": {},
    "2022": {
        "mood_tau1_h": 12.0,
        "mood_centre": 0.1,
        "mood_base_options": (0.37, 0.70, 0.90),
        "n_answer": 8,
        "n_original": 7,
        "n_fiction": 4,
        "retained_discount": "all",
        "eps_answer": 0.15,
        "eps_original": 0.30,
        "retention_cutoff": 0.70,
        "autoreview_accept": 0.136,
        "autoreview_accept_original": 0.136,
        "autoreview_flag": None,
        "autoreview_reject": 0.536,
        "autoreview_false_accept": 0.067,
        "autoreview_false_reject": 0.05,
        "tweak_image": 0.50,
        "tweak_animated": -0.60,
        "argmax_with_image": True,
        "min_words_answer": 10,
        "min_words_answer_half": 15,
        "min_words_original": 10,
        "cost_word": 0.2,
        "cost_words_max": None,
        "cost_short_words": 0,
        "cost_counts_ask": False,
        "queue_below": 13,
        "dash_gate_kind": "delta",
        "dash_gate": 0.001,
        "dash_min_gain": 0.025,
        "text_form": "2022",
    },
}
QUALITY_MODE: dict[str, Any] = {"n_answer": 11, "n_original": 10, "n_fiction": 6, "n_scale": 0.5}


class Words(Strict):
    """Word lists of moderation, as plain lower-case strings."""

    bad: tuple[str, ...] = ()
    # Found between white space or punctuation alone.
    short: tuple[str, ...] = ()
    # Harmless strings that contain bad ones.
    safe: tuple[str, ...] = ()
    # Found also where letters are spaced out or hidden between signs.
    obscured: tuple[str, ...] = ()
    hard_review: tuple[str, ...] = ()
    hard_reject: tuple[str, ...] = ()
    profanity: tuple[str, ...] = ()

    @field_validator("*")
    @classmethod
    def _lower(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        cleaned = tuple(word.strip().lower() for word in value)
        if not all(cleaned):
            raise ValueError("an empty word would be found in every text; remove it")
        return cleaned

    def __add__(self, other: "Words") -> "Words":
        mine, its = self.model_dump(), other.model_dump()
        return Words(**{name: (*words, *its[name]) for name, words in mine.items()})


class Blog(Strict):
    """One blog that the bot writes for."""

    name: BlogName
    # What the author is like, in the words that the writing model reads.
    persona: str = Field(default="", max_length=8000)
    owner: str | None = Field(default=None, max_length=64)
    timezone: str = "UTC"
    # archive: files say what came in, and ticks follow their times; live: a tick is when somebody looks.
    mode: Literal["archive", "live"] = "archive"
    # off: nothing is made of its own accord; people may still materialise.
    active: bool = True
    preset: Literal["2023", "2022"] = "2023"
    quality_mode: bool = False
    tuning: dict[str, Any] = {}
    # dry_run: rows alone; tumblr: posts, drafts and queue of the blog.
    delivery: Literal["dry_run", "tumblr"] = "dry_run"
    # Write posts that answer nobody.
    originals: bool = True
    # First day on which it does; the days before teach the writer. None: all days.
    originals_from: date | None = None
    follows: tuple[str, ...] = ()
    # Users whose replies count as if they were followed.
    frequent: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    # Users who are answered once in so many hours on average.
    limited: dict[str, Annotated[float, Field(gt=0, le=10_000)]] = {}
    # Users to whom every answer is read by a human first.
    screened: tuple[str, ...] = ()
    # Users who are spared profanity.
    strict_users: tuple[str, ...] = ()
    dash_tags: tuple[str, ...] = ()
    dash_always: tuple[str, ...] = ()
    words: Words = Words()
    functions: dict[str, FunctionChoice] = {}

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError("no such time zone; write it as America/New_York") from None
        return value

    @field_validator("follows", "frequent", "avoid", "screened", "strict_users", "dash_always")
    @classmethod
    def _lower(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.lower() for name in value)

    @field_validator("limited")
    @classmethod
    def _lower_keys(cls, value: dict[str, float]) -> dict[str, float]:
        return {name.lower(): hours for name, hours in value.items()}

    @model_validator(mode="after")
    def _tuned(self) -> "Blog":
        self.tuned()
        return self

    def tuned(self) -> Tuning:
        """The numbers of this author: its preset, quality mode, and what `tuning` says of its own."""
        mode = QUALITY_MODE if self.quality_mode else {}
        return Tuning.model_validate({**PRESETS[self.preset], **mode, **self.tuning})

    def writes_unasked(self, at: datetime) -> bool:
        """Whether it writes posts that answer nobody at a moment."""
        return self.originals and (self.originals_from is None or at.date() >= self.originals_from)

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class Persona(Strict):
    """How author bots read, write and learn."""

    # Folders with a folder for each blog, relative to the settings file.
    archives: tuple[str, ...] = ()
    # First partition; default: start_day.
    start_day: date | None = None
    # vader: rules; model: the function persona_sentiment.
    sentiment: Literal["vader", "model"] = "vader"
    # Log a model's estimate of risk beside the local one; it never overrules a word that must not pass.
    judge: bool = False
    # off: pictures wait for a model that reads them, instead of being read here where the extra `ocr` is installed.
    local_ocr: Literal["auto", "off"] = "auto"
    # What the local models see: tfidf, or an embedder by name.
    features: str = "tfidf"
    # Fewer labels of either kind, and a model is not trained.
    min_labels: int = Field(default=50, ge=5, le=100_000)
    # Human decisions from which on the cuts are those of the trained model, and not of the preset.
    threshold_labels: int = Field(default=200, ge=10, le=100_000)
    # Posts the offline writer must have read.
    min_corpus: int = Field(default=50, ge=1, le=100_000)
    words: Words = Words()

    @field_validator("features")
    @classmethod
    def _known(cls, value: str) -> str:
        from magpie.text.embedders import EMBEDDERS, HOSTED_EMBEDDERS  # heavy, and few change it

        known = ("tfidf", *EMBEDDERS, *HOSTED_EMBEDDERS)
        if value not in known:
            raise ValueError(f"no such features; one of {', '.join(known)}")
        return value

"""extract_lead: what is asked about one post, and which answers count.

Belongs here: the fields of an answer, what of it must stand in the post, and the offline rules that answer without a
model. Does not belong here: asking (`magpie/llm`), the words of the prompt (`prompts/extract_lead.md`), and what
becomes of an answer (`extraction.py`).
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from magpie.leads.intent import offline_answer
from magpie.llm.prompts import load
from magpie.llm.spec import FunctionSpec, InvalidAnswer, Row
from magpie.text.tokens import folded

# Shorter quotes ("crm", "we need") stand in any post and show nothing; a post that is shorter is quoted whole.
QUOTE_MIN_CHARS = 10
# The scale's two steps, for people who sort leads by what to do today.
HOT, WARM = 70, 40

# ISO 4217, without metals, funds and test codes.
CURRENCIES = frozenset(
    """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY
    COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR
    ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK
    MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF
    SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU
    UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """.split()  # noqa: SIM905 - a list of them would fill a screen
)


def _currency(code: str) -> str:
    known = code.strip().upper()
    if known not in CURRENCIES:
        raise ValueError("must be an ISO 4217 code such as USD")
    return known


class Answer(BaseModel):
    """An extra field is ignored, a missing one is an error: null has to be said."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Budget(Answer):
    """Money that the post names."""

    text: str = Field(min_length=1, max_length=300)
    amount: float | None = Field(ge=0, allow_inf_nan=False)
    currency: Annotated[str, AfterValidator(_currency)] | None


class ContactInfo(Answer):
    """Ways to reach the author that the post names."""

    email: str | None = Field(max_length=320)
    handle: str | None = Field(max_length=100)
    url: str | None = Field(max_length=2000)


class ExtractedLead(Answer):
    """What a post tells of its author's wish for the product."""

    is_lead: bool
    intent_score: int = Field(ge=0, le=100)
    lead_type: Literal["seeking_solution", "comparing", "complaint", "question", "showcase", "other"]
    pain_point: str | None = Field(max_length=300)
    desired_solution: str | None = Field(max_length=300)
    budget: Budget | None
    urgency: Literal["now", "soon", "later", "unknown"]
    competitors: tuple[Annotated[str, Field(max_length=200)], ...] = Field(max_length=10)
    contact_info: ContactInfo | None
    sentiment: Literal["positive", "neutral", "negative", "mixed"]
    # Its lower bound is the check's: a post may be shorter, and one that is no lead need not hold any evidence.
    evidence_quote: str = Field(max_length=300)
    reason: str = Field(min_length=1, max_length=240)
    suggested_reply: str | None = Field(max_length=800)
    confidence: float = Field(ge=0, le=1)


class CheckedLead(ExtractedLead):
    """An answer held against its post.

    Attributes:
        evidence_grounded: whether the quote stands in the post.
        contact_dropped: whether a part of contact_info was taken out because the post does not hold it.
    """

    evidence_grounded: bool
    contact_dropped: bool


def tier(intent_score: int) -> str:
    """hot (from 70), warm (from 40) or cold."""
    if intent_score >= HOT:
        return "hot"
    return "warm" if intent_score >= WARM else "cold"


def post_of(row: Row) -> str:
    """The author's own words, as far as they are sent: title and text of a submission, text of a comment."""
    text = str(row["text"] or "")
    return f"{row['eff_title'] or ''}\n{text}" if row["kind"] == "submission" else text


def variables(row: Row) -> Mapping[str, str]:
    """The inputs of the prompt; the author's name is none of them."""
    return {
        "product_description": str(row["product_description"]),
        "keywords": ", ".join(row["keywords"]),
        "draft_reply": "yes" if row["draft_reply"] else "no",
        "subreddit": str(row["subreddit"] or ""),
        "kind": str(row["kind"]),
        "eff_title": str(row["eff_title"] or ""),
        "text": str(row["text"] or ""),
        "parent_excerpt": str(row["parent_excerpt"] or ""),
    }


def check(answer: ExtractedLead, row: Row, last_try: bool) -> CheckedLead:
    """Keep of an answer what its post bears out.

    Budget and competitors that do not occur in the post (NFKC, case and white space folded) and contacts that do not
    occur in it letter by letter are taken out. A lead whose quote does not occur is asked for again, and on the last
    try kept with evidence_grounded = false; of a post that is no lead nobody reads the quote, so it is not worth a
    second call.

    Raises:
        InvalidAnswer: the quote of a lead is not in the post, and the model may be asked again.
    """
    post = post_of(row)
    there = folded(post)
    flaw = _flaw_of_quote(answer.evidence_quote, there)
    if flaw and answer.is_lead and not last_try:
        raise InvalidAnswer(flaw)
    contact, dropped = _contact_in(answer.contact_info, post)
    kept = {
        "pain_point": _said(answer.pain_point),
        "desired_solution": _said(answer.desired_solution),
        "budget": answer.budget if answer.budget and _occurs(answer.budget.text, there) else None,
        "competitors": tuple({folded(name): name for name in answer.competitors if _occurs(name, there)}.values()),
        "contact_info": contact,
        "suggested_reply": _said(answer.suggested_reply) if row["draft_reply"] else None,
        "evidence_grounded": flaw is None,
        "contact_dropped": dropped,
    }
    return CheckedLead.model_validate({**dict(answer), **kept})


def offline(row: Row) -> CheckedLead:
    """Answer by the rules of `intent.py`, without a model and free of charge."""
    return check(ExtractedLead(**offline_answer(post_of(row))), row, True)


def _flaw_of_quote(quote: str, there: str) -> str | None:
    needle = folded(quote)
    if not needle or len(needle) < min(QUOTE_MIN_CHARS, len(there)):
        return f"evidence_quote is too short; copy a passage of at least {QUOTE_MIN_CHARS} characters from the post"
    if needle not in there:
        return (
            "evidence_quote does not occur in the post; copy one passage of its title or text word for word, without "
            "leaving out, joining or correcting anything"
        )
    return None


def _occurs(part: str, there: str) -> bool:
    needle = folded(part)
    return bool(needle) and needle in there


def _contact_in(contact: ContactInfo | None, post: str) -> tuple[ContactInfo | None, bool]:
    if contact is None:
        return None, False
    named = {name: part for name, part in dict(contact).items() if _said(part)}
    kept = {name: part for name, part in named.items() if part in post}
    whole = ContactInfo(**{name: kept.get(name) for name in ContactInfo.model_fields}) if kept else None
    return whole, len(kept) < len(named)


def _said(text: str | None) -> str | None:
    """None for a text of nothing but white space."""
    return text if text and text.strip() else None


EXTRACT_LEAD: FunctionSpec[ExtractedLead] = FunctionSpec(
    name="extract_lead",
    version=1,
    display_name="Extract lead",
    description="Judge whether a post's author is likely to want the product, and take down what the post says.",
    template=load("magpie.leads", "extract_lead"),
    output=ExtractedLead,
    alias="fast",
    inputs={
        "product_description": "trusted",
        "keywords": "trusted",
        "draft_reply": "trusted",
        "subreddit": "untrusted",
        "kind": "untrusted",
        "eff_title": "untrusted",
        "text": "untrusted",
        "parent_excerpt": "untrusted",
    },
    variables=variables,
    check=check,
    offline=offline,
    max_output_tokens=900,
    temperature=0.0,
)

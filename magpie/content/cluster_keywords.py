"""cluster_keywords: what is asked about a batch of keywords, and what of an answer counts.

Belongs here: the fields of an answer, what is corrected in it, and the offline rules that name topics without a model.
Does not belong here: asking (`magpie/llm`), the words of the prompt (`prompts/cluster_keywords.md`), the draft groups
(`clustering.py`), what becomes of an answer (`clusters.py`).
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from magpie.content.keywords import keyword_norm
from magpie.llm.prompts import load
from magpie.llm.spec import FunctionSpec, InvalidAnswer, Pace, Row
from magpie.text.stopwords import STOP_WORDS
from magpie.text.tokens import tokenise

NAME_CHARS, DESCRIPTION_CHARS = 80, 300
# More than the largest batch holds; what is too much is said keyword by keyword.
_MOST = 5000
# Terms that the offline description of a topic lists.
_TERMS = 3


def _lower(value: object) -> object:
    return value.strip().casefold().replace(" ", "_").replace("-", "_") if isinstance(value, str) else value


class Answer(BaseModel):
    """An extra field is ignored, a missing one is an error."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class NamedCluster(Answer):
    """One topic; bounds on its texts are the check's: they are cut rather than lost."""

    name: str = Field(max_length=2000)
    description: str = Field(max_length=5000)
    dimension: Annotated[
        Literal["intent", "use_case", "function", "persona", "context", "topic"], BeforeValidator(_lower)
    ]
    keywords: tuple[Annotated[str, Field(max_length=1000)], ...] = Field(max_length=_MOST)


class ClusterAnswer(Answer):
    """The topics of a batch."""

    clusters: tuple[NamedCluster, ...] = Field(max_length=_MOST)


class CheckedCluster(NamedCluster):
    """A topic whose keywords are those of the question, in their normal form; `flags` say what was corrected."""

    flags: tuple[str, ...]


class CheckedClusters(ClusterAnswer):
    """An answer held against its question; `flags` say what was corrected in keywords that are in no topic."""

    clusters: tuple[CheckedCluster, ...]
    flags: tuple[str, ...]


def variables(row: Row) -> Mapping[str, str]:
    """The inputs of the prompt; what was imported or made by a model is untrusted."""
    return {
        "sector": str(row["sector"]),
        "language": str(row["language"]),
        "min_size": str(row["min_size"]),
        "max_size": str(row["max_size"]),
        "existing": _listed(row["existing"]),
        "pre_clusters": "\n".join(_listed(_norms(group)) for group in row["pre_clusters"]) or "[]",
        "leftovers": _listed(_norms(row["leftovers"])),
    }


def _listed(texts: Sequence[str]) -> str:
    return json.dumps(list(texts), ensure_ascii=False)


def _norms(keywords: Sequence[Mapping[str, Any]]) -> list[str]:
    return [keyword["keyword_norm"] for keyword in keywords]


def check(answer: ClusterAnswer, row: Row, last_try: bool) -> CheckedClusters:
    """Keep of an answer what its question bears out.

    Keywords are compared by their normal form. Unknown ones and second mentions are taken out and flagged. On the last
    try a topic of too few keywords is dissolved and one of too many divided along the draft groups.

    Raises:
        InvalidAnswer: a topic has no name, too few or too many keywords, and the model may be asked again.
    """
    draft = {norm: number for number, group in enumerate(row["pre_clusters"]) for norm in _norms(group)}
    known = draft.keys() | set(_norms(row["leftovers"]))
    taken: set[str] = set()
    found = [_kept(cluster, known, taken) for cluster in answer.clusters]
    least, most = int(row["min_size"]), int(row["max_size"])
    if not last_try:
        flaws = [flaw for cluster in found if (flaw := _flaw(cluster, least, most))]
        if flaws:
            raise InvalidAnswer("; ".join(flaws[:10]))
    checked: list[CheckedCluster] = []
    flags: set[str] = set()
    for cluster in found:
        parts = _parts(cluster, draft, most)
        if len(parts) > 1:
            flags.add("split")
        for part in parts:
            if len(part.keywords) >= least:
                checked.append(part)
            else:
                flags |= {*part.flags, "dissolved"}
    return CheckedClusters(clusters=tuple(checked), flags=tuple(sorted(flags)))


def _kept(cluster: NamedCluster, known: frozenset[str] | set[str], taken: set[str]) -> CheckedCluster:
    """The topic with those of its keywords that were asked about and are in none before it."""
    flags: set[str] = set()
    kept: list[str] = []
    for text in cluster.keywords:
        norm = keyword_norm(text)
        if norm not in known:
            flags.add("unknown_keyword")
        elif norm in taken:
            flags.add("repeated_keyword")
        else:
            taken.add(norm)
            kept.append(norm)
    return CheckedCluster(
        name=_line(cluster.name, NAME_CHARS),
        description=_line(cluster.description, DESCRIPTION_CHARS),
        dimension=cluster.dimension,
        keywords=tuple(kept),
        flags=tuple(sorted(flags)),
    )


def _line(text: str, longest: int) -> str:
    """In one line, without characters that no page shows, cut at a word."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if len(line) <= longest:
        return line
    head = line[: longest + 1]
    return (head.rsplit(" ", 1)[0] if " " in head else line[:longest]).rstrip(" ,;:–-")


def _flaw(cluster: CheckedCluster, least: int, most: int) -> str | None:
    count = len(cluster.keywords)
    if not keyword_norm(cluster.name):
        return "a cluster has no name; give every cluster one"
    if least <= count <= most:
        return None
    return (
        f"cluster {cluster.name!r} has {count} keywords of the lists that no cluster before it has; a cluster needs "
        f"{least} to {most}, each copied from the lists"
    )


def _parts(cluster: CheckedCluster, draft: Mapping[str, int], most: int) -> list[CheckedCluster]:
    """A topic of too many keywords by draft group, the largest first; leftovers come apart one by one."""
    named = cluster if keyword_norm(cluster.name) else _named_by_rule(cluster)
    if len(cluster.keywords) <= most:
        return [named]
    groups: dict[tuple[int, str], list[str]] = {}
    for norm in cluster.keywords:
        groups.setdefault((draft[norm], "") if norm in draft else (-1, norm), []).append(norm)
    ordered = sorted(groups.values(), key=lambda group: (-len(group), group))
    flags = tuple(sorted({*named.flags, "split"}))
    return [
        named.model_copy(
            update={
                "name": named.name if not at else _line(f"{named.name}: {titled(group[0])}", NAME_CHARS),
                "keywords": tuple(group),
                "flags": flags,
            }
        )
        for at, group in enumerate(ordered)
    ]


def _named_by_rule(cluster: CheckedCluster) -> CheckedCluster:
    name = titled(cluster.keywords[0]) if cluster.keywords else ""
    return cluster.model_copy(update={"name": name, "flags": tuple(sorted({*cluster.flags, "named_by_rule"}))})


def offline(row: Row) -> ClusterAnswer:
    """Name the draft groups after their keyword of most searches, without a model and free of charge."""
    clusters = [
        {
            "name": _line(titled(leading(group)), NAME_CHARS),
            "description": _line(f"{len(group)} keywords about {', '.join(terms(_norms(group)))}.", DESCRIPTION_CHARS),
            "dimension": "topic",
            "keywords": _norms(group),
        }
        for group in row["pre_clusters"]
    ]
    return ClusterAnswer.model_validate({"clusters": clusters})


def leading(group: Sequence[Mapping[str, Any]]) -> str:
    """The keyword of most searches; of equal ones the shortest, then the first of the alphabet."""
    best = min(group, key=lambda word: (-(word["volume"] or 0), len(word["keyword_norm"]), word["keyword_norm"]))
    return str(best["keyword_norm"])


def titled(keyword: str) -> str:
    """Every word with a capital; what follows an apostrophe or a hyphen stays small."""
    return " ".join(word[:1].upper() + word[1:] for word in keyword.split())


def terms(keywords: Sequence[str]) -> list[str]:
    """The words that most of the keywords hold, stop words aside, the most frequent first."""
    held = Counter(word for keyword in keywords for word in set(tokenise(keyword)) - STOP_WORDS)
    ordered = sorted(held, key=lambda word: (-held[word], word))
    return ordered[:_TERMS] or list(keywords[:1])


CLUSTER_KEYWORDS: FunctionSpec[ClusterAnswer] = FunctionSpec(
    name="cluster_keywords",
    version=1,
    display_name="Cluster keywords",
    description="Name groups of keywords as topics, and move keywords to where they belong.",
    template=load("magpie.content", "cluster_keywords"),
    output=ClusterAnswer,
    alias="fast",
    inputs={
        "sector": "trusted",
        "language": "trusted",
        "min_size": "trusted",
        "max_size": "trusted",
        "existing": "untrusted",
        "pre_clusters": "untrusted",
        "leftovers": "untrusted",
    },
    variables=variables,
    check=check,
    offline=offline,
    max_output_tokens=3000,
    temperature=0.3,
    credits="clustering",
    aliases=("auto_cluster",),
    # A second correction of sizes seldom brings more than the division by rule, and costs as much as the first.
    pace=Pace(reasks=1),
)

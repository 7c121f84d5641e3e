"""magpie.yaml: every wrong value is one line that names file, key, value and what is allowed."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from magpie.errors import UserError
from magpie.settings import Settings, load_settings

CAMPAIGN = {"id": "crm", "name": "CRM", "product_description": "A CRM", "keywords": ["crm"]}
GOOD: dict[str, Any] = {"start_day": "2026-03-02", "campaigns": [CAMPAIGN]}
PASSWORD = "hunter2secret"


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAGPIE_HOME", "MAGPIE_CONFIG", "MAGPIE_LAKE_URL", "MAGPIE_CONTROL_URL"):
        monkeypatch.delenv(name, raising=False)


def written(folder: Path, content: Any, name: str = "magpie.yaml") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), "utf-8")
    return path


def complaint(folder: Path, content: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_settings(written(folder, content))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def with_campaign(**more: Any) -> dict[str, Any]:
    return {**GOOD, "campaigns": [{**CAMPAIGN, **more}]}


def test_a_small_file_is_enough(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, GOOD))
    assert [campaign.id for campaign in settings.active_campaigns()] == ["crm"]
    assert settings.home == tmp_path / ".magpie"
    assert settings.lake_root == str(tmp_path / ".magpie" / "lake")
    assert settings.control_database == f"sqlite:///{tmp_path / '.magpie' / 'control.sqlite'}"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({**GOOD, "campaings": []}, "magpie.yaml: campaings is not a setting; remove it or correct its spelling"),
        (
            with_campaign(keyword=[]),
            "magpie.yaml: campaigns[0].keyword is not a setting; remove it or correct its spelling",
        ),
        ({"campaigns": [CAMPAIGN]}, "magpie.yaml: start_day is missing"),
        ({**GOOD, "start_day": "soon"}, "magpie.yaml: start_day = 'soon': Input should be a valid date"),
        (
            {**GOOD, "caps": {"global_daily_cap_usd": -1}},
            "magpie.yaml: caps.global_daily_cap_usd = -1: Input should be greater than or equal to 0",
        ),
        (
            {**GOOD, "reddit": {"max_line_mib": "huge"}},
            "magpie.yaml: reddit.max_line_mib = 'huge': Input should be a valid integer",
        ),
        (
            {**GOOD, "leads": {"bm25_corpus_days": 31}},
            "magpie.yaml: leads.bm25_corpus_days = 31: Input should be less than or equal to 30",
        ),
        (
            {**GOOD, "leads": {"bm25_corpus_days": 6}},
            "magpie.yaml: leads.bm25_corpus_days = 6: Input should be greater than or equal to 7",
        ),
        ({**GOOD, "campaigns": [CAMPAIGN, CAMPAIGN]}, "magpie.yaml: campaigns: campaign id crm is used twice"),
        (with_campaign(id="Agency CRM"), "magpie.yaml: campaigns[0].id = 'Agency CRM': String should match pattern"),
        (
            with_campaign(status="running"),
            "magpie.yaml: campaigns[0].status = 'running': Input should be 'draft', 'active', 'paused' or 'completed'",
        ),
        (
            with_campaign(keywords=["crm", "in*voice"]),
            "magpie.yaml: campaigns[0].keywords[1].keyword = 'in*voice': a * may only stand at the end of a phrase",
        ),
        (
            with_campaign(keywords=["!!"]),
            "magpie.yaml: campaigns[0].keywords[0].keyword = '!!': needs at least one letter or digit",
        ),
        (
            with_campaign(keywords=[{"keyword": "crm", "weight": 0}]),
            "magpie.yaml: campaigns[0].keywords[0].weight = 0: Input should be greater than 0",
        ),
        (
            with_campaign(keywords=["crm", {"keyword": "CRM", "kind": "exclude"}]),
            "magpie.yaml: campaigns[0].keywords: 'CRM' and 'crm' are the same keyword; keep one of them",
        ),
        (with_campaign(keywords=[]), "magpie.yaml: campaigns[0].keywords: "),
        (
            with_campaign(keywords=[{"keyword": "hiring", "kind": "exclude"}, {"keyword": "crm", "active": False}]),
            "magpie.yaml: campaigns[0]: needs at least one active keyword of kind include",
        ),
        (
            with_campaign(gates={"min_fussed": 0.1}),
            "magpie.yaml: campaigns.crm.gates.min_fussed is not a gate setting; known: dedup_ttl_seconds",
        ),
        (
            with_campaign(gates={"min_upvote_ratio": 1.5}),
            "magpie.yaml: campaigns.crm.gates.min_upvote_ratio = 1.5: Input should be less than or equal to 1",
        ),
        (
            with_campaign(gates={"dedup_ttl_seconds": 30 * 86_400}),
            "magpie.yaml: campaigns.crm.gates.dedup_ttl_seconds = 2592000: Input should be less than or equal to",
        ),
        (
            with_campaign(gates={"missing_policy": {"low_karma": "drop"}}),
            "magpie.yaml: campaigns.crm.gates.missing_policy.low_karma = 'drop': Input should be 'skip' or 'reject'",
        ),
        (
            with_campaign(gates={"missing_policy": {"removed": "skip"}}),
            "magpie.yaml: campaigns.crm.gates.missing_policy.removed = 'removed': Input should be 'low_upvote_ratio'",
        ),
        (
            {**GOOD, "leads": {"gates": {"w_cos": 1}}},
            "magpie.yaml: leads.gates.w_cos = 1: Input should be less than 1",
        ),
        (
            {**GOOD, "leads": {"embed_model": "word2vec"}},
            "magpie.yaml: leads.embed_model = 'word2vec': must be one of all-minilm-l6-v2, offline-hash-1024",
        ),
        ({**GOOD, "home": 5}, "magpie.yaml: home = 5: Input is not a valid path"),
        ({**GOOD, "home": ["a"]}, "magpie.yaml: home: Input is not a valid path"),
        ({**GOOD, "root": "/"}, "magpie.yaml: root is not a setting; it follows from where the file is"),
        ("start_day: 2026-13-01\n", "magpie.yaml is not valid YAML: month must be in 1..12"),
        ("a: [1\nb: 2\n", "magpie.yaml is not valid YAML: line 2, column 2: "),
        ("a: \x00\n", "magpie.yaml is not valid YAML: "),
        ("- just\n- a list\n", "magpie.yaml must hold keys such as start_day and campaigns, but holds list"),
        ("", "magpie.yaml must hold keys such as start_day and campaigns, but holds NoneType"),
        ("1: 2\n", "magpie.yaml: "),
    ],
)
def test_what_is_wrong_is_one_line_with_file_key_value_and_what_is_allowed(
    tmp_path: Path, content: Any, expected: str
) -> None:
    assert complaint(tmp_path, content).startswith(expected)


def test_several_wrong_values_are_told_at_once(tmp_path: Path) -> None:
    told = complaint(tmp_path, {**with_campaign(status="running"), "typo": 1})
    assert "campaigns[0].status = 'running'" in told
    assert "typo is not a setting" in told


def test_a_file_that_is_not_there_or_not_text_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read the settings file .*none\.yaml: No such file.*--config"):
        load_settings(tmp_path / "none.yaml")
    broken = tmp_path / "latin.yaml"
    broken.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(UserError, match=r"latin\.yaml is not UTF-8; save it as UTF-8"):
        load_settings(broken)
    with pytest.raises(UserError, match="cannot read the settings file"):
        load_settings(tmp_path)


def test_the_file_is_the_argument_else_magpie_config_else_the_one_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there, third = tmp_path / "here", tmp_path / "there", tmp_path / "third"
    for folder in (here, there, third):
        folder.mkdir()
        written(folder, with_campaign(id=folder.name))
    monkeypatch.chdir(here)
    assert load_settings().campaigns[0].id == "here"
    monkeypatch.setenv("MAGPIE_CONFIG", str(there / "magpie.yaml"))
    assert load_settings().campaigns[0].id == "there"
    assert load_settings(third / "magpie.yaml").campaigns[0].id == "third"
    monkeypatch.setenv("MAGPIE_CONFIG", "")
    assert load_settings().campaigns[0].id == "here", "an empty variable is none"


def test_magpie_home_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, {**GOOD, "home": "data"})
    assert load_settings(path).home == tmp_path / "data"
    monkeypatch.setenv("MAGPIE_HOME", str(tmp_path / "elsewhere"))
    assert load_settings(path).home == tmp_path / "elsewhere"
    monkeypatch.setenv("MAGPIE_HOME", "")
    assert load_settings(path).home == tmp_path / "data"


def test_passwords_in_addresses_are_in_no_text_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"postgresql://magpie:{PASSWORD}@127.0.0.1/magpie"
    monkeypatch.setenv("MAGPIE_CONTROL_URL", address)
    settings = load_settings(written(tmp_path, GOOD))
    assert settings.control_database == address
    assert PASSWORD not in repr(settings) + str(settings)
    assert PASSWORD not in complaint(tmp_path, {**GOOD, "typo": 1, "start_day": "soon"})
    assert PASSWORD not in complaint(tmp_path, with_campaign(gates={"typo": 1}))
    monkeypatch.delenv("MAGPIE_CONTROL_URL")
    assert PASSWORD not in complaint(tmp_path, f"control_url: {address}: x\nb: [\n")
    assert PASSWORD not in complaint(tmp_path, {**GOOD, "control_url": [address]})


def gates(**layers: dict[str, Any]) -> Any:
    given = {
        "start_day": "2026-03-02",
        "leads": {"gates": layers.get("leads", {})},
        "campaigns": [{**CAMPAIGN, "gates": layers.get("campaign", {})}],
    }
    return Settings.model_validate(given).gates_of("crm", layers.get("overrides"))


def test_a_campaigns_gates_win_over_those_for_all_and_overrides_over_both() -> None:
    assert gates().min_fused == 0.42, "the model's calibration"
    assert gates(leads={"min_fused": 0.1}).min_fused == 0.1
    assert gates(leads={"min_fused": 0.1}, campaign={"min_fused": 0.2}).min_fused == 0.2
    assert gates(campaign={"min_fused": 0.2}, overrides={"min_fused": 0.3}).min_fused == 0.3


def test_what_to_do_with_missing_values_is_merged_gate_by_gate() -> None:
    merged = gates(
        leads={"missing_policy": {"low_karma": "reject", "nsfw": "reject"}},
        campaign={"missing_policy": {"nsfw": "skip"}},
        overrides={"missing_policy": {"too_old": "reject"}},
    )
    assert merged.missing_policy == {"low_karma": "reject", "nsfw": "skip", "too_old": "reject"}


def test_the_bundled_settings_hold() -> None:
    settings = load_settings(Path(__file__).parent.parent / "magpie.yaml")
    assert {campaign.id for campaign in settings.campaigns} == {"agency-crm", "folding-bike"}

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.local.engine import LocalSettings
from tasks.campaign.campaign_file import CampaignError, load_campaign, load_campaigns

Write = Callable[..., Path]


def refusal(file: Path) -> str:
    """The one line that a bad campaign file gets."""
    with pytest.raises(CampaignError) as refused:
        load_campaign(file)
    text = str(refused.value)
    assert text.startswith(str(file))
    assert "\n" not in text
    return text


def test_a_campaign_says_what_it_leaves_open_as_the_paper_does(campaign_file: Write) -> None:
    campaign = load_campaign(campaign_file())
    assert (campaign.sampler.temperature, campaign.sampler.top_p, campaign.sampler.max_tokens) == (1.0, 1.0, None)
    assert (campaign.runs, campaign.quorum, campaign.overflow.policy, campaign.template) == (1, 1.0, "fail", None)


def test_relative_paths_are_relative_to_the_file(campaign_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = campaign_file(benchmark="../data/problems.jsonl", template="own.jinja", store="rows")
    monkeypatch.chdir("/")
    campaign = load_campaign(file)
    assert campaign.benchmark.path == str(file.parent.parent / "data" / "problems.jsonl")
    assert campaign.template == str(file.parent / "own.jinja")
    assert campaign.store == str(file.parent / "rows")


def test_the_folder_of_a_model_is_relative_to_the_file(campaign_file: Write) -> None:
    file = campaign_file(engine={"kind": "local", "model": "../qwen"})
    engine = load_campaign(file).engine
    assert isinstance(engine, LocalSettings)
    assert engine.model == file.parent.parent / "qwen"


@pytest.mark.parametrize("place", ["/data/x.jsonl", "s3://bucket/x.jsonl"])
def test_absolute_paths_and_uris_stay_as_they_are(campaign_file: Write, place: str) -> None:
    campaign = load_campaign(campaign_file(benchmark={"path": place}, store=place))
    assert (campaign.benchmark.path, campaign.store) == (place, place)


def test_a_built_in_benchmark_is_no_path(campaign_file: Write) -> None:
    assert load_campaign(campaign_file(benchmark="hmmt")).benchmark.path == "hmmt"


def test_a_home_folder_is_found(campaign_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert load_campaign(campaign_file(store="~/rows")).store == "/home/someone/rows"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"metods": ["low"]}, ["metods is no key", "known here: name, benchmark, grader"]),
        ({"sampler": {"model": "m", "temp": 1}}, ["sampler.temp is no key", "known here: model, revision, temper"]),
        ({"engine": {"urls": ["http://h/v1"], "url": 1}}, ["engine.url is no key", "urls"]),
        ({"benchmark": {"path": "x.jsonl", "feilds": {}}}, ["benchmark.feilds is no key", "fields"]),
        (
            {"benchmark": {"path": "x.jsonl", "fields": {"question": "q"}}},
            ["benchmark.fields.question is no key", "id, problem, answer"],
        ),
        ({"overflow": {"police": "fail"}}, ["overflow.police is no key", "policy, room"]),
    ],
)
def test_an_unknown_key_is_refused_at_every_level_with_the_known_ones(
    campaign_file: Write, keys: dict[str, Any], said: list[str]
) -> None:
    text = refusal(campaign_file(**keys))
    assert all(part in text for part in said), text


@pytest.mark.parametrize("key", ["name", "benchmark", "grader", "sampler", "engine", "pool", "methods", "store"])
def test_a_missing_key_is_named(campaign_file: Write, key: str) -> None:
    assert f"{key} is missing" in refusal(campaign_file(**{key: None}))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"sampler": {}}, ["sampler.model is missing", "name under which the server knows the model"]),
        ({"benchmark": {"limit": 3}}, ["benchmark.path is missing"]),
        ({"engine": {}}, ["engine.urls is missing"]),
    ],
)
def test_a_missing_key_within_a_part_is_named_with_its_meaning(
    campaign_file: Write, keys: dict[str, Any], said: list[str]
) -> None:
    text = refusal(campaign_file(**keys))
    assert all(part in text for part in said), text


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"name": "a/b"}, ["name: 'a/b' given", "letters, digits"]),
        ({"name": ""}, ["name: '' given"]),
        ({"pool": 0}, ["pool: 0 given", "greater than or equal to 1", "first-round trajectories"]),
        ({"pool": "many"}, ["pool: 'many' given", "integer"]),
        ({"runs": -1}, ["runs: -1 given"]),
        ({"runs": 2.5}, ["runs: 2.5 given"]),
        ({"quorum": 1.5}, ["quorum: 1.5 given", "less than or equal to 1"]),
        ({"quorum": 0}, ["quorum: 0 given", "greater than 0"]),
        ({"shard_size": 0}, ["shard_size: 0 given"]),
        ({"commit_seconds": 0}, ["commit_seconds: 0 given"]),
        ({"sampler": {"model": "m", "temperature": -1}}, ["sampler.temperature: -1 given"]),
        ({"sampler": {"model": "m", "top_p": 1.1}}, ["sampler.top_p: 1.1 given"]),
        ({"sampler": {"model": ""}}, ["sampler.model: '' given"]),
        ({"sampler": "qwen"}, ["sampler: 'qwen' given"]),
        ({"overflow": {"policy": "cut"}}, ["overflow.policy: 'cut' given", "drop_longest", "truncate_messages"]),
        ({"overflow": {"room": 0}}, ["overflow.room: 0 given"]),
        ({"engine": {"urls": []}}, ["engine.urls: no server given", "http://localhost:8000/v1"]),
        ({"engine": {"urls": ["localhost:8000"]}}, ["engine.urls: 'localhost:8000' is no base URL"]),
        ({"engine": {"urls": "http://h/v1"}}, ["engine.urls: 'http://h/v1' given"]),
        ({"engine": {"urls": ["http://h/v1"], "kind": "vllm"}}, ["engine.kind: 'vllm' given", "'openai'"]),
        ({"benchmark": {"path": "x.jsonl", "limit": 0}}, ["benchmark.limit: 0 given"]),
        ({"benchmark": 7}, ["benchmark: 7 given"]),
        ({"methods": []}, ["methods: [] given", "at least 1"]),
        ({"methods": ["lo"]}, ["methods: 'lo' is no method; known: low, medium, high"]),
        ({"methods": [5]}, ["methods: 5 is no method; known: low, medium, high"]),
        ({"methods": "low"}, ["methods: 'low' given"]),
        ({"methods": [[4, 0]]}, ["method '[4,0]', rounds.1.width: 0 given"]),
        ({"methods": ["low", "low"]}, ["methods: low given more than once"]),
        ({"methods": ["medium"], "pool": 8}, ["pool: 8 given", "medium draws 16", "set pool to at least 16"]),
        ({"methods": ["sc@9"], "pool": 8}, ["pool: 8 given", "sc@9 draws 9"]),
        ({"store": ""}, ["store: '' given"]),
        ({7: "seven"}, ["7 is no key"]),
    ],
)
def test_a_wrong_value_is_refused_with_key_given_and_right(
    campaign_file: Write, keys: dict[str, Any], said: list[str]
) -> None:
    file = campaign_file()
    if 7 in keys:
        file.write_text(file.read_text() + "7: seven\n")
    else:
        campaign_file(**keys)
    text = refusal(file)
    assert all(part in text for part in said), text
    assert text.count(" given") <= 1, "one mistake, one complaint"


def test_every_mistake_is_told_at_once(campaign_file: Write) -> None:
    text = refusal(campaign_file(pool=0, grader=None))
    assert "pool: 0 given" in text
    assert "grader is missing" in text


def test_a_key_written_into_the_file_is_not_repeated(campaign_file: Write) -> None:
    engine = {"urls": ["http://user:geheim@h/v1"], "api_key": "geheim"}
    text = refusal(campaign_file(engine=engine))
    assert "engine.api_key is no key" in text
    assert "geheim" not in text


@pytest.mark.parametrize(
    ("keys", "where"),
    [
        ({"engine": {"urls": ["http://user:geheim@h/v1"]}}, "engine.urls"),
        ({"engine": {"urls": ["user:geheim@h/v1"]}}, "engine.urls"),
        ({"engine": {"urls": "http://user:geheim@h/v1"}}, "engine.urls"),
        ({"engine": {"urls": ["http://h/v1?key=geheim"]}}, "engine.urls"),
        ({"engine": {"urls": ["http://h/v1"], "api_key_env": "sk-geheim"}}, "engine.api_key_env"),
        ({"store": "s3://AKIA:geheim@bucket/store"}, "store"),
        ({"store": "s3://bucket/store?secret=geheim"}, "store"),
        ({"benchmark": "https://user:geheim@h/problems.jsonl"}, "benchmark.path"),
    ],
)
def test_a_key_anywhere_in_the_file_is_refused_in_one_line(
    campaign_file: Write, keys: dict[str, Any], where: str
) -> None:
    text = refusal(campaign_file(**keys))
    assert f": {where}: " in text
    assert "geheim" not in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "a campaign is a mapping"),
        (b"- low\n", "a campaign is a mapping"),
        (b"name: [\n", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
    ],
)
def test_what_is_no_campaign_at_all_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "campaign.yaml"
    file.write_bytes(content)
    assert said in refusal(file)


def unfolding(levels: int) -> str:
    """YAML whose aliases name 9 to the power of its levels values."""
    lines = ["a0: &a0 [lol]", *(f"a{n}: &a{n} [{', '.join(9 * [f'*a{n - 1}'])}]" for n in range(1, levels))]
    return "\n".join([*lines, f"name: *a{levels - 1}"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (unfolding(10), "nested too deep or too large"),
        ("name: " + 200 * "[" + 200 * "]", "nested too deep"),
        ("name: " + 5_000 * "[" + 5_000 * "]", "nested too deep"),
        ("pool: " + 5_000 * "9", "not YAML"),
        ('"\\uD800": 1', "no Unicode text"),
        ("name: !!binary /wA=", "no plain value"),
        ("name: !!timestamp 9999-99-99100", "not YAML"),
    ],
    ids=["aliases", "brackets", "more brackets", "digits", "half a pair", "bytes", "no time"],
)
def test_what_would_unfold_without_end_is_refused_at_once(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "campaign.yaml"
    file.write_text(content)
    assert said in refusal(file)


def test_a_key_of_several_lines_is_told_on_one(campaign_file: Write) -> None:
    assert "is no key" in refusal(campaign_file(**{"two\nlines": 1}))


def test_of_many_mistakes_the_first_are_told(campaign_file: Write) -> None:
    assert refusal(campaign_file(**{f"key{n}": n for n in range(200)})).endswith("; and 192 more")


def test_a_long_value_is_quoted_short(campaign_file: Write) -> None:
    text = refusal(campaign_file(name=5_000 * "x", methods=[5_000 * "y"]))
    assert "name" in text
    assert len(text) < 2_000


@pytest.mark.parametrize("method", ["sequential@99999999999", {"name": "wide", "rounds": [10**9]}])
def test_a_method_without_bounds_is_refused(campaign_file: Write, method: Any) -> None:
    assert "methods" in refusal(campaign_file(methods=[method]))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.yaml")
    assert "give the path of a campaign file" in refusal(tmp_path)


def of_each(campaign_file: Write, *each: Any, **keys: Any) -> Path:
    file = campaign_file(**keys)
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "each": list(each)}))
    return file


def test_a_file_of_several_gives_every_campaign_what_they_share_and_what_is_its_own(campaign_file: Write) -> None:
    file = of_each(campaign_file, {"benchmark": "countdown", "grader": "countdown"}, {"runs": 8, "name": "own"}, runs=2)
    first, second = load_campaigns(file)
    assert (first.name, first.benchmark.path, first.grader, first.runs) == (
        "tiny-countdown",
        "countdown",
        "countdown",
        2,
    )
    assert (second.name, second.grader, second.runs) == ("own", "exact", 8)
    assert second.benchmark.path == str(file.parent / "problems.jsonl")
    assert first.store == second.store == str(file.parent / "store")


def test_a_file_of_one_campaign_is_several_that_are_one(campaign_file: Write) -> None:
    assert load_campaigns(campaign_file()) == [load_campaign(campaign_file())]


@pytest.mark.parametrize(
    ("each", "said"),
    [
        ([], "each is a list of mappings"),
        (["countdown"], "each is a list of mappings"),
        ([{"benchmark": "countdown"}, {"benchmark": "countdown"}], "tiny-countdown stands twice"),
        ([{"benchmark": "countdown"}, {"benchmark": "arithmetic"}], "holds 2 campaigns"),
        ([{"benchmark": "countdown", "pol": 4}], "pol is no key"),
    ],
)
def test_entries_that_are_none_or_alike_or_too_many_are_refused(
    campaign_file: Write, each: list[Any], said: str
) -> None:
    assert said in refusal(of_each(campaign_file, *each))

"""Which replica a request goes to."""

from collections import Counter

from infra.replicas import COOL_SECONDS, Replicas

URLS = ("http://a/v1", "http://b/v1", "http://c/v1")


def choices(replicas: Replicas, count: int = 300) -> list[str]:
    return [replicas.choose(str(i).encode(), {}) for i in range(count)]


def test_a_prompt_always_meets_the_same_replica() -> None:
    assert choices(Replicas(URLS)) == choices(Replicas(URLS))
    assert choices(Replicas(URLS)) == choices(Replicas(URLS[::-1]))


def test_prompts_spread_over_all_replicas() -> None:
    shares = Counter(choices(Replicas(URLS)))
    assert all(60 < shares[url] < 140 for url in URLS)


def test_a_replica_that_leaves_moves_only_its_own_prompts() -> None:
    before, after = choices(Replicas(URLS)), choices(Replicas(URLS[:2]))
    assert all(a == b for b, a in zip(before, after, strict=True) if b != URLS[2])


def test_a_failed_replica_is_left_alone_for_a_while_and_returned_to() -> None:
    now = 0.0
    replicas = Replicas(URLS, clock=lambda: now)
    before = choices(replicas)
    replicas.failed(URLS[0])
    assert URLS[0] not in choices(replicas)
    now = COOL_SECONDS + 1
    assert choices(replicas) == before


def test_a_retry_goes_to_a_replica_not_yet_tried() -> None:
    replicas = Replicas(URLS)
    tried: Counter[str] = Counter()
    for _ in range(6):
        url = replicas.choose(b"prompt", tried)
        tried[url] += 1
        replicas.failed(url)
    assert tried == dict.fromkeys(URLS, 2)


def test_when_all_have_failed_one_is_still_chosen() -> None:
    replicas = Replicas(URLS)
    for url in URLS:
        replicas.failed(url)
    assert replicas.choose(b"prompt", {}) in URLS

"""Addresses: what is shown and stored of one holds no secret, and each has an id of its own."""

from __future__ import annotations

import pytest

from flowguard.notify import read_addresses

SECRETS = (
    ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts", "Slack", ("hooks.slack.com", 443)),
    ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "Slack", None),
    ("jsons://me:pa55word@hooks.example.org/s3cr3t", "JSON at hooks.example.org", ("hooks.example.org", 443)),
    ("mailto://me:pa55word@gmail.com", "E-Mail at gmail.com", ("smtp.gmail.com", 587)),
    ("mailto://me:pa55word@x.org:25?smtp=mail.x.org", "E-Mail at x.org", ("mail.x.org", 25)),
    ("discord://1234567890123456789/abcdefghijklmnopqrstuvwxyz0123456789", "Discord", ("discord.com", 443)),
    ("ntfy://our-s3cr3t-topic", "ntfy", None),
    ("nonsense://s3cr3t", "nonsense://***", None),
)


@pytest.mark.parametrize(("url", "name", "where"), SECRETS)
def test_it_is_shown_by_service_and_host(
    url: str, name: str, where: tuple[str, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for proxy in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    [one] = read_addresses([url])
    assert one.name == name
    if where is not None:
        assert one.reached_at == where
    shown = f"{one.name} {one.id} {one!r} {one}"
    for secret in ("pa55word", "s3cr3t", "T1JJ3T3L2", "TIiajkdn", "1234567890", "abcdefgh"):
        assert secret not in shown


def test_a_proxy_hides_whether_a_host_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.org:3128")
    web, mail = read_addresses([SECRETS[0][0], SECRETS[3][0]])
    assert web.reached_at is None
    assert mail.reached_at == ("smtp.gmail.com", 587)


def test_ids_are_the_same_every_time_and_outlive_a_new_password() -> None:
    first, again = ("jsons://me:pa55word@hooks.example.org/x", "jsons://me:another@hooks.example.org/x")
    assert read_addresses([first])[0].id == read_addresses([again])[0].id
    assert read_addresses([first])[0].id != read_addresses([first + "/y"])[0].id


def test_two_with_secrets_that_look_alike_are_two_and_one_given_twice_is_one() -> None:
    # Of Slack's tokens the first and the last letter are no secret to apprise.
    tokens = ("A1BRTD4JD", "A2CSUE5KD")
    alike = [f"slack://T1JJ3T3L2/{token}/TIiajkdnlazkcOXrIdevi7FQ" for token in tokens]
    found = read_addresses([*alike, alike[0]])
    assert [one.id.partition("-")[2] for one in found] == ["", "2"]
    assert len({one.id for one in found}) == 2

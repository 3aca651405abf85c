"""Where a stream may be pushed to."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from recordings.live import address

PUBLIC = "93.184.215.14"


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names and where they lead: no test asks the network."""
    names: dict[str, list[str]] = {"live.example.com": [PUBLIC]}

    def find(host: str, port: int, **_: Any) -> list[Any]:
        try:
            socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
            found = [host]
        except OSError:
            if host not in names:
                raise socket.gaierror("unknown") from None
            found = names[host]
        return [(0, 0, 0, "", (ip, port)) for ip in found]

    monkeypatch.setattr(socket, "getaddrinfo", find)
    return names


@pytest.mark.parametrize(
    "url",
    [
        "http://live.example.com/app/key",
        "file:///etc/passwd",
        "rtmp:///app/key",
        "rtmp://live.example.com/app",
        "rtmp://live.example.com/",
        "rtmp://user:password@live.example.com/app/key",
        "rtmp://live.example.com:0/app/key",
        "rtmp://live.example.com:99999/app/key",
        "rtmp://live.example.com/app/key\r\nhello",
        "rtmp://live.example.com/app/a key",
        "rtmp://[/app/key",
        "-i rtmp://live.example.com/app/key",
        "rtmp://live.example.com/app/" + "k" * 600,
        "",
    ],
)
def test_what_is_no_address_of_an_rtmp_server_is_refused_without_repeating_it(
    named: dict[str, list[str]], url: str
) -> None:
    with pytest.raises(address.BadAddress) as refused:
        address.resolve(url, private=True)
    assert "key" not in str(refused.value).replace("the stream key", "").replace("/key.", "")


@pytest.mark.parametrize(
    "ip",
    ["127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.9", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
     "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::10.1.2.3", "2002:a01:203::1"],
)  # fmt: skip
def test_a_machine_of_this_network_is_reached_where_a_setting_says_so_alone(
    named: dict[str, list[str]], ip: str
) -> None:
    host = f"[{ip}]" if ":" in ip else ip
    with pytest.raises(address.BadAddress):
        address.resolve(f"rtmp://{host}/app/key", private=False)
    assert address.resolve(f"rtmp://{host}/app/key", private=True) == ip
    named["inside.example.com"] = [PUBLIC, ip]  # one of several is enough
    with pytest.raises(address.BadAddress):
        address.resolve("rtmp://inside.example.com/app/key", private=False)


def test_a_public_server_is_taken_by_its_address(named: dict[str, list[str]]) -> None:
    assert address.resolve("rtmps://live.example.com:443/app/key?x=1", private=False) == PUBLIC
    with pytest.raises(address.BadAddress):
        address.resolve("rtmp://nowhere.example.com/app/key", private=False)


def test_what_is_told_has_no_key() -> None:
    assert address.without_key("rtmp://live.example.com/app/very-secret?and=more") == "rtmp://live.example.com/app/…"

"""The addresses that the worker tells browsers: those it was told, else those of the machine."""

from __future__ import annotations

import ipaddress

import ifaddr

LOOPBACK = "127.0.0.1"

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def addresses_to_announce(listen_ip: str) -> list[str]:
    """The one address that is listened on; or, listening on all, every address of the machine, loopback last.

    IPv6 ones only when `::` is listened on, which hears both. Loopback stays in for a browser on the same machine
    without a network; Firefox does not try it, so it comes last.
    """
    listened = ipaddress.ip_address(listen_ip)
    if not listened.is_unspecified:
        return [listen_ip]
    found = [ip.ip if isinstance(ip.ip, str) else ip.ip[0] for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    addresses = [ipaddress.ip_address(ip) for ip in dict.fromkeys(found)]
    reached = [ip for ip in addresses if not ip.is_loopback and not ip.is_link_local and _is_heard(ip, listened)]
    return [*(str(ip) for ip in reached), LOOPBACK]


def read_announced(text: str, listen_ip: str) -> list[str]:
    """`SFU_ANNOUNCED_IPS`: addresses with commas between, the best first; `public/private` is both sides of a NAT.

    Browsers try all of them: those outside get through by the public one, those inside by the private one. Raises
    ValueError, with what is wrong with which of them.
    """
    listened = ipaddress.ip_address(listen_ip)
    announced: dict[str, None] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        sides = [_address(side, entry) for side in entry.split("/")]
        if len(sides) > 2:
            raise ValueError(f"{entry!r} is neither an address nor a pair public/private")
        if len({ip.version for ip in sides}) > 1:
            raise ValueError(f"{entry!r} pairs IPv4 with IPv6: a NAT has one of them on both sides")
        for ip in sides:
            if not _is_heard(ip, listened):
                raise ValueError(f"{ip} would not be heard: SFU_LISTEN_IP={listen_ip} listens to IPv{listened.version}")
            announced[str(ip)] = None
    return list(announced)


def _address(text: str, entry: str) -> Ip:
    try:
        ip = ipaddress.ip_address(text.strip())
    except ValueError:
        raise ValueError(f"{entry!r} is not an IP address" + (" or a pair of them" if "/" in entry else "")) from None
    if ip.is_unspecified or ip.is_multicast or getattr(ip, "scope_id", None):
        raise ValueError(f"{entry!r} is no address that a browser could send to")
    return ip


def _is_heard(ip: Ip, listened: Ip) -> bool:
    return ip.version == listened.version or str(listened) == "::"

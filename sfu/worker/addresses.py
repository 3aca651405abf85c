"""The addresses that the worker tells browsers when it was not told which."""

from __future__ import annotations

import ipaddress

import ifaddr

LOOPBACK = "127.0.0.1"


def addresses_to_announce(listen_ip: str) -> list[str]:
    """The one address that is listened on; or, listening on all, every IPv4 address of the machine, loopback last.

    Loopback stays in for a browser on the same machine without a network; Firefox does not try it, so it comes last.
    """
    if not ipaddress.ip_address(listen_ip).is_unspecified:
        return [listen_ip]
    found = [ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips if isinstance(ip.ip, str)]
    addresses = [ipaddress.ip_address(ip) for ip in dict.fromkeys(found)]
    return [*(str(ip) for ip in addresses if not ip.is_loopback and not ip.is_link_local), LOOPBACK]

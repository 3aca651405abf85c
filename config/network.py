"""The addresses under which other machines reach this one."""

from __future__ import annotations

import ipaddress

import ifaddr


def lan_addresses() -> list[str]:
    """Every IPv4 address of this machine that is neither loopback nor link-local."""
    found = [ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips if isinstance(ip.ip, str)]
    addresses = [ipaddress.ip_address(ip) for ip in found]
    return [str(address) for address in addresses if not address.is_loopback and not address.is_link_local]

"""Where a stream may be pushed to: `rtmp://` or `rtmps://`, and no machine of this network unless a setting says so.

Checked when a host gives the address, and again each time before it is connected to, since a name may lead elsewhere
by then. The last part of the path is the stream key: whoever has it can send in the host's name.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

SCHEMES = {"rtmp": 1935, "rtmps": 443}
LONGEST = 500  # characters
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # leads to the IPv4 address at its end (RFC 6052)


class BadAddress(ValueError):
    """The message is for people, and does not repeat the address."""


def split(url: str) -> SplitResult:
    """Raises BadAddress for what is no address of an RTMP server."""
    if len(url) > LONGEST or any(ord(each) <= 0x20 or ord(each) >= 0x7F for each in url):
        raise BadAddress("The address is too long, or has characters that do not belong there.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadAddress("This is not an address.") from None
    if parts.scheme not in SCHEMES:
        raise BadAddress("The address must begin with rtmp:// or rtmps://.")
    if not parts.hostname or port == 0:
        raise BadAddress("The address names no server.")
    if parts.username or parts.password:
        raise BadAddress("Name and password do not belong into the address; the stream key stands at its end.")
    if len([part for part in parts.path.split("/") if part]) < 2:
        raise BadAddress("The address must end with the application and the stream key: rtmp://server/app/key.")
    return parts


def resolve(url: str, *, private: bool) -> str:
    """An IP address of its server. Raises BadAddress, also where one of several is none that may be reached."""
    parts = split(url)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or SCHEMES[parts.scheme], type=socket.SOCK_STREAM)
    except OSError:
        raise BadAddress("The server of that name cannot be found.") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not private and not all(is_public(address) for address in addresses):
        raise BadAddress("The server lies in a private network, which streams may not reach.")
    return addresses[0]


def is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inside = ip.ipv4_mapped or ip.sixtofour
        ip = inside or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in NAT64 else ip)
    return ip.is_global and not ip.is_multicast


def without_key(url: str) -> str:
    """For people and logs."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rpartition('/')[0]}/…"

"""STUN as an ICE-lite agent needs it (RFC 8489; RFC 8445, 7.3): read a Binding request, answer it.

Every receiver asks for consent each few seconds, so this costs a worker more than its small part in a class: a third of
what aioice's codec takes, which knows all of STUN. Tests let that codec speak with this one.
"""

from __future__ import annotations

import hmac
import struct
from binascii import crc32
from ipaddress import IPv6Address

from sfu.core.errors import ParseError
from sfu.core.rtp import Buffer

MAX_STUN = 1500  # bytes: a check is about 100
MAX_USERNAME = 513  # bytes (RFC 8489, 14.3)

HEADER = 20  # bytes: type, length, magic cookie, transaction id
COOKIE = b"\x21\x12\xa4\x42"
REQUEST, SUCCESS, ERROR = 0x0001, 0x0101, 0x0111  # of the Binding method

USERNAME = 0x0006
MESSAGE_INTEGRITY = 0x0008
ERROR_CODE = 0x0009
XOR_MAPPED_ADDRESS = 0x0020
PRIORITY = 0x0024
USE_CANDIDATE = 0x0025
FINGERPRINT = 0x8028
ICE_CONTROLLED = 0x8029

_SIZES = {MESSAGE_INTEGRITY: 20, PRIORITY: 4, USE_CANDIDATE: 0, FINGERPRINT: 4, ICE_CONTROLLED: 8}
_FINGERPRINT_XOR = 0x5354554E
_IPV4, _IPV6 = 1, 2
_MAPPED = bytes(10) + b"\xff\xff"  # begins an IPv6 address that stands for an IPv4 one (RFC 4291, 2.5.5.2)

_attribute_at = struct.Struct("!HH").unpack_from
_attribute = struct.Struct("!HH").pack
_head = struct.Struct("!HH4s12s").pack
_word = struct.Struct("!I")


def is_stun(data: Buffer) -> bool:
    """Whether this is STUN, by first byte and magic cookie (RFC 7983). Says nothing of what follows."""
    return len(data) >= HEADER and data[0] <= 3 and data[4:8] == COOKIE


class Message:
    """One that was received: `attributes` by their type as the offset of the value.

    Attributes behind MESSAGE-INTEGRITY, but for the fingerprint, are left out: nobody has signed them.
    """

    __slots__ = ("attributes", "data", "kind", "transaction", "username")

    def __init__(self, data: bytes, kind: int, attributes: dict[int, int], username: str) -> None:
        self.data = data
        self.kind = kind
        self.transaction = data[8:HEADER]
        self.attributes = attributes
        self.username = username

    def is_signed_with(self, password: bytes) -> bool:
        at = self.attributes[MESSAGE_INTEGRITY]
        # The signature covers all before it, with the length as if it were the last attribute.
        signed = self.data[:2] + (at + 20 - HEADER).to_bytes(2, "big") + self.data[4 : at - 4]
        return hmac.compare_digest(hmac.digest(password, signed, "sha1"), self.data[at : at + 20])


def parse(datagram: Buffer) -> Message:
    """A message whose attributes have the sizes that they must have, and whose fingerprint, if any, is right.

    Raises ParseError. The signature is not looked at.
    """
    if not is_stun(datagram):
        raise ParseError("not a STUN message")
    end = len(datagram)
    if end > MAX_STUN:
        raise ParseError("STUN message is too long")
    data = bytes(datagram)
    kind, length = _attribute_at(data)
    if HEADER + length != end:
        raise ParseError("STUN message is not as long as it says")
    attributes: dict[int, int] = {}
    username = ""
    position = HEADER
    while position < end:
        if position + 4 > end:
            raise ParseError("STUN attribute is truncated")
        name, size = _attribute_at(data, position)
        value = position + 4
        if value + size > end:
            raise ParseError("STUN attribute has a bad length")
        if _SIZES.get(name, size) != size or (name == USERNAME and size > MAX_USERNAME):
            raise ParseError("STUN attribute has not the size of its kind")
        if name == FINGERPRINT:
            if value + 4 != end:
                raise ParseError("STUN fingerprint is not the last attribute")
            if crc32(data[:position]) ^ _FINGERPRINT_XOR != _word.unpack_from(data, value)[0]:
                raise ParseError("STUN fingerprint is wrong")
            attributes[name] = value
        elif MESSAGE_INTEGRITY not in attributes and name not in attributes:  # of two, the first counts (section 14)
            attributes[name] = value
            if name == USERNAME:
                username = _text(data[value : value + size])
        position = value + size + (-size % 4)
    if position != end:
        raise ParseError("STUN attribute has a bad length")
    return Message(data, kind, attributes, username)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ParseError("STUN username is not UTF-8") from error


def username_fragment(data: Buffer) -> str | None:
    """Our own ufrag, out of the USERNAME `ours:theirs` of a STUN message; None if there is none. Never raises.

    Nothing is verified here: it only finds who is to verify.
    """
    if not is_stun(data) or len(data) > MAX_STUN:
        return None
    end = len(data)
    position = HEADER
    while position + 4 <= end:
        name, size = _attribute_at(data, position)
        position += 4
        if name == USERNAME:
            if size > MAX_USERNAME or position + size > end:
                return None
            local, colon, _ = bytes(data[position : position + size]).partition(b":")
            try:
                return local.decode() if colon and local else None
            except UnicodeDecodeError:
                return None
        position += size + (-size % 4)
    return None


def success(request: Message, ip: str, port: int, password: bytes) -> bytes:
    """The answer to a check: where it came from, signed. An IPv6 address that stands for IPv4 is told as that."""
    packed = IPv6Address(ip).packed if ":" in ip else bytes(map(int, ip.split(".")))
    if packed.startswith(_MAPPED):
        packed = packed[12:]
    family = _IPV4 if len(packed) == 4 else _IPV6
    key = int.from_bytes((COOKIE + request.transaction)[: len(packed)], "big")
    hidden = (int.from_bytes(packed, "big") ^ key).to_bytes(len(packed), "big")
    value = bytes((0, family)) + (port ^ 0x2112).to_bytes(2, "big") + hidden
    return _finished(SUCCESS, request, _attribute(XOR_MAPPED_ADDRESS, len(value)) + value, password)


def error(request: Message, code: int, reason: str, password: bytes | None = None) -> bytes:
    """A refusal; signed where whoever asked has proved to know the password."""
    value = bytes((0, 0, code // 100, code % 100)) + reason.encode()
    padding = bytes(-len(value) % 4)
    return _finished(ERROR, request, _attribute(ERROR_CODE, len(value)) + value + padding, password)


def _finished(kind: int, request: Message, attributes: bytes, password: bytes | None) -> bytes:
    """A whole message: header, attributes, signature, fingerprint."""
    if password is not None:
        signed = _head(kind, len(attributes) + 24, COOKIE, request.transaction) + attributes
        attributes += _attribute(MESSAGE_INTEGRITY, 20) + hmac.digest(password, signed, "sha1")
    message = _head(kind, len(attributes) + 8, COOKIE, request.transaction) + attributes
    return message + _attribute(FINGERPRINT, 4) + _word.pack(crc32(message) ^ _FINGERPRINT_XOR)

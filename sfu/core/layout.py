"""The one shape of every packet that leaves: what differs between receivers stands at fixed offsets.

A forwarded packet has no CSRCs, and a one-byte extension block (RFC 8285) that begins with MID, transport-wide
sequence number and absolute send time, in that order and always there. So a burst is written once, copied whole for
each receiver, and only the transport-wide number is written again. The MID is the producer's, and so the same for all;
only who consumes a producer for the second time on one transport has one of his own.

    0  version, padding, X=1 | 1  marker, payload type | 2  sequence number | 4  timestamp | 8  SSRC
    12 0xBEDE, length in words | 16 id 1, 17-19 MID | 20 id 5, 21-22 transport-wide number | 23 id 4, 24-26 send time
    27 what else the producer sent, padding to a word | payload

Audio has no transport-wide number: bytes 20-22 are zero, which is padding.
"""

from __future__ import annotations

from struct import Struct

from sfu.core.rtp import Buffer, RtpHeader

# Router ids of the header extensions (`sfu.core.capabilities` announces the same).
MID_ID = 1
ABS_SEND_TIME_ID = 4
TRANSPORT_CC_ID = 5
AUDIO_LEVEL_ID = 6
DEPENDENCY_DESCRIPTOR_ID = 7

FIXED_HEADER = 12
MID_AT = 17
MID_LENGTH = 3
TRANSPORT_CC_AT = 20
NUMBER_AT = 21
ABS_SEND_TIME_AT = 24
OTHERS_AT = 27
SEQUENCE_AT = 2

TRANSPORT_CC_HEAD = TRANSPORT_CC_ID << 4 | 1  # an element of two bytes
ABS_SEND_TIME_HEAD = ABS_SEND_TIME_ID << 4 | 2  # three
PADDING_BIT = 0x20
AUDIO_LEVEL_HEAD = AUDIO_LEVEL_ID << 4  # one
MAX_ELEMENT = 16  # bytes that a one-byte element holds

MAX_MIDS = 36**MID_LENGTH
MAX_PACKET = 1500  # bytes: what comes larger did not come from a browser

_head = Struct("!BBHII").pack_into
_extension = Struct("!HHB3sB2sB3s").pack_into
# (buffer, offset 21, transport-wide number): all that differs between receivers of a video packet
patch_number = Struct("!H").pack_into
patch_mid = Struct("!3s").pack_into
patch_sequence_and_timestamp = Struct("!HI").pack_into
_send_time = Struct("!HB").pack_into

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def mid_text(number: int) -> str:
    """The nth MID: always three characters, so that it can be written over another."""
    if not 0 <= number < MAX_MIDS:
        raise ValueError("no MID is left")
    return _DIGITS[number // 1296] + _DIGITS[number // 36 % 36] + _DIGITS[number % 36]


def canonical(
    data: Buffer,
    header: RtpHeader,
    *,
    payload_type: int,
    ssrc: int,
    mid: bytes,
    numbered: bool,
    passed_on: tuple[tuple[int, int], ...],
) -> bytearray:
    """A received packet in that shape, padding left out; `passed_on` are (their id, our id) of extensions to keep.

    `numbered`: whether there is a transport-wide number.
    """
    others = b""
    extensions = header.extensions
    for theirs, ours in passed_on:
        place = extensions.get(theirs)
        if place is not None and 0 < place[1] <= MAX_ELEMENT:
            offset, size = place
            others += bytes((ours << 4 | size - 1,)) + data[offset : offset + size]
    words = (OTHERS_AT - 16 + len(others) + 3) // 4
    payload = data[header.payload_offset : header.payload_end]
    start = 16 + 4 * words
    packet = bytearray(start + len(payload))
    _head(
        packet,
        0,
        0x90,
        payload_type | 0x80 if header.marker else payload_type,
        header.sequence_number,
        header.timestamp,
        ssrc,
    )
    head = TRANSPORT_CC_HEAD if numbered else 0
    _extension(packet, FIXED_HEADER, 0xBEDE, words, MID_ID << 4 | 2, mid, head, b"", ABS_SEND_TIME_HEAD, b"")
    if others:
        packet[OTHERS_AT : OTHERS_AT + len(others)] = others
    packet[start:] = payload
    return packet


def payload_offset(packet: bytearray) -> int:
    """Where the payload of a packet in that shape begins."""
    return 16 + 4 * (packet[14] << 8 | packet[15])


def audio_level(packet: bytearray) -> int | None:
    """How loud the voice in a packet of that shape is (RFC 6464): 0 the loudest, 127 silence; None: not told.

    It is the first of what is passed on (`sfu.core.producer`), so it need not be looked for.
    """
    return packet[OTHERS_AT + 1] & 0x7F if packet[OTHERS_AT] == AUDIO_LEVEL_HEAD else None


def write_send_time(packet: bytearray, send_time: int) -> None:
    _send_time(packet, ABS_SEND_TIME_AT, send_time >> 8, send_time & 0xFF)


def abs_send_time(seconds: float) -> int:
    """24 bits, 6 of them seconds and 18 a fraction (the abs-send-time extension of WebRTC)."""
    return int(seconds * 262144) & 0xFFFFFF


def padding_packet(*, payload_type: int, ssrc: int, sequence_number: int, mid: bytes, padding: int) -> bytearray:
    """A packet with nothing but 1 to 255 bytes of padding, in that shape. The last byte tells how many."""
    words = (OTHERS_AT - 16 + 3) // 4
    packet = bytearray(16 + 4 * words + padding)
    _head(packet, 0, 0x90 | PADDING_BIT, payload_type, sequence_number, 0, ssrc)
    _extension(
        packet, FIXED_HEADER, 0xBEDE, words, MID_ID << 4 | 2, mid, TRANSPORT_CC_HEAD, b"", ABS_SEND_TIME_HEAD, b""
    )
    packet[-1] = padding
    return packet


def retransmission(
    packet: bytearray, *, payload_type: int, ssrc: int, sequence_number: int, original: int, timestamp: int
) -> bytearray:
    """A packet as RTX (RFC 4588): own payload type, SSRC and number; the original number leads the payload."""
    start = payload_offset(packet)
    rtx = bytearray(len(packet) + 2)
    rtx[:start] = packet[:start]
    rtx[start + 2 :] = packet[start:]
    _head(rtx, 0, packet[0], (packet[1] & 0x80) | payload_type, sequence_number, timestamp, ssrc)
    rtx[start] = original >> 8
    rtx[start + 1] = original & 0xFF
    return rtx

"""Read and write many datagrams with one system call: recvmmsg, sendmmsg and UDP_SEGMENT (GSO) of Linux.

The calls are reached by cffi in ABI mode, so nothing is compiled. What a kernel does not have is found out at the
start by trying, and done one datagram at a time.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import time
from struct import Struct
from typing import Any

from cffi import FFI

logger = logging.getLogger(__name__)

SLOT = 2048  # bytes for one datagram: media never exceeds 1500
SLOTS = 64  # datagrams read at once; what is left wakes us again
NAME = 28  # bytes of a sockaddr_in6, the longer one
SOCKET_BUFFER = 8 * 1024 * 1024  # bytes: a key frame to a thousand receivers is 40 MB, but not in one instant

UDP_SEGMENT = 103
SOL_UDP = 17
MSG_TRUNC = 0x20
_SO_TIMESTAMPNS = 35
MAX_WAIT = 1.0  # seconds a datagram can have waited for us: beyond it the wall clock was set, and we know nothing
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
MAX_SEGMENTS = 64  # of one send (UDP_MAX_SEGMENTS)
MAX_SEND = 65_000  # bytes of one send

ffi: Any = FFI()
ffi.cdef(
    """
    struct iovec { void *iov_base; size_t iov_len; };
    struct msghdr {
        void *msg_name; unsigned int msg_namelen; struct iovec *msg_iov; size_t msg_iovlen;
        void *msg_control; size_t msg_controllen; int msg_flags;
    };
    struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
    int recvmmsg(int sockfd, struct mmsghdr *msgvec, unsigned int vlen, int flags, void *timeout);
    int sendmmsg(int sockfd, struct mmsghdr *msgvec, unsigned int vlen, int flags);
    """
)
try:
    libc: Any = ffi.dlopen(None)
    recvmmsg: Any = libc.recvmmsg
    sendmmsg: Any = libc.sendmmsg
except (OSError, AttributeError):
    libc = recvmmsg = sendmmsg = None

HEADER = Struct("=QI4xQQQQi4xI4x")  # struct mmsghdr of 64-bit Linux
IOVEC = Struct("=QQ")
CONTROL = Struct("=QiiH6x")  # struct cmsghdr with a segment size
STAMP = Struct("=QiiQQ")  # struct cmsghdr with a struct timespec
assert HEADER.size == ffi.sizeof("struct mmsghdr")


def open_udp(ip: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        for option, beyond_limit in ((socket.SO_RCVBUF, _SO_RCVBUFFORCE), (socket.SO_SNDBUF, _SO_SNDBUFFORCE)):
            try:
                sock.setsockopt(socket.SOL_SOCKET, beyond_limit, SOCKET_BUFFER)  # for the administrator alone
            except OSError:
                sock.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)  # cut to net.core.{r,w}mem_max
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((ip, port))
    except BaseException:
        sock.close()
        raise
    return sock


def open_tcp(ip: str, port: int) -> socket.socket:
    """Listening for whom a UDP socket of that address hears: on `::` for both families, unlike asyncio's servers."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    sock = socket.create_server((ip, port), family=family, dualstack_ipv6=ip == "::")
    sock.setblocking(False)
    return sock


def can_segment(sock: socket.socket) -> bool:
    """Whether sends can be segmented by the kernel: two datagrams in one send to ourselves."""
    try:
        with open_udp("127.0.0.1", 0) as sender, open_udp("127.0.0.1", 0) as receiver:
            control = [(SOL_UDP, UDP_SEGMENT, (8).to_bytes(2, "little"))]
            sender.sendmsg([b"segment1segment2"], control, 0, receiver.getsockname())
            return receiver.recv(64) == b"segment1" and receiver.recv(64) == b"segment2"
    except OSError:
        return False


def socket_address(address: tuple[Any, ...], family: int) -> bytes:
    """An (ip, port) as the kernel's sockaddr, which is also the key of tables of addresses."""
    if family == socket.AF_INET:
        return family.to_bytes(2, "little") + address[1].to_bytes(2, "big") + socket.inet_aton(address[0]) + bytes(8)
    packed = socket.inet_pton(socket.AF_INET6, address[0])
    scope = address[3].to_bytes(4, "little") if len(address) > 3 else bytes(4)
    return family.to_bytes(2, "little") + address[1].to_bytes(2, "big") + bytes(4) + packed + scope


def address_of(key: bytes) -> tuple[str, int]:
    """The (ip, port) of such a key."""
    port = int.from_bytes(key[2:4], "big")
    if int.from_bytes(key[:2], "little") == socket.AF_INET:
        return socket.inet_ntoa(key[4:8]), port
    ip = socket.inet_ntop(socket.AF_INET6, key[8:24])
    return ip.removeprefix("::ffff:") if "." in ip else ip, port


def destination_of(key: bytes) -> tuple[Any, ...]:
    """What `sendto` takes for such a key: a socket for both families wants IPv4 in its IPv6 form."""
    port = int.from_bytes(key[2:4], "big")
    if int.from_bytes(key[:2], "little") == socket.AF_INET:
        return socket.inet_ntoa(key[4:8]), port
    return socket.inet_ntop(socket.AF_INET6, key[8:24]), port, 0, int.from_bytes(key[24:28], "little")


class Receiver:
    """A socket's incoming datagrams, in buffers that are used again with the next `read`.

    After `read` said how many came, datagram i is in `views[i]` (and at `pointers[i]`) with `lengths[i]` bytes; it came
    from `keys[i]` at `times[i]`, by the loop's clock.

    That is the kernel's time where it can be had. A worker that waits for a core reads late, and many at once: told
    that all of a probe came in one instant, a browser cannot find out how fast its way is.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._fileno = sock.fileno()
        self._name_length = 16 if sock.family == socket.AF_INET else NAME
        self.buffer = bytearray(SLOT * SLOTS)
        whole = memoryview(self.buffer)
        base = ffi.from_buffer("char[]", self.buffer)
        self._keep: list[Any] = [base]
        self.views = [whole[i * SLOT : (i + 1) * SLOT] for i in range(SLOTS)]
        self.pointers = [base + i * SLOT for i in range(SLOTS)]
        self.lengths = [0] * SLOTS
        self.keys = [b""] * SLOTS
        self.times = [0.0] * SLOTS
        self._many = recvmmsg is not None
        if self._many:
            self._prepare()
        else:
            logger.warning("recvmmsg is missing: datagrams are read one by one")

    def _prepare(self) -> None:
        self._names = bytearray(NAME * SLOTS)
        self._stamps = bytearray(STAMP.size * SLOTS)
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        names = ffi.from_buffer("char[]", self._names)
        stamps = ffi.from_buffer("char[]", self._stamps)
        iovecs = ffi.new("struct iovec[]", SLOTS)
        self._headers = ffi.new("struct mmsghdr[]", SLOTS)
        self._keep += [names, stamps, iovecs]
        for i in range(SLOTS):
            iovecs[i].iov_base = self.pointers[i]
            iovecs[i].iov_len = SLOT
            header = self._headers[i].msg_hdr
            header.msg_name = names + i * NAME
            header.msg_namelen = NAME
            header.msg_iov = iovecs + i
            header.msg_iovlen = 1
            header.msg_control = stamps + i * STAMP.size
            header.msg_controllen = STAMP.size
        self._view = memoryview(ffi.buffer(self._headers)).cast("B")
        self._words = self._view.cast("I")

    def read(self) -> int:
        if not self._many:
            return self._read_one()
        count: int = recvmmsg(self._fileno, self._headers, SLOTS, 0, ffi.NULL)
        if count <= 0:
            return 0
        words, lengths, keys, names, size = self._words, self.lengths, self.keys, self._names, self._name_length
        times, stamps = self.times, self._stamps
        now = time.monotonic()
        shift = now - time.time()
        for i in range(count):
            word = i * 16  # a header is 64 bytes: 16 words
            lengths[i] = 0 if words[word + 12] & MSG_TRUNC else words[word + 14]
            words[word + 2] = NAME
            start = i * NAME
            keys[i] = bytes(names[start : start + size])
            times[i] = now
            if words[word + 10] == STAMP.size:
                _, level, kind, seconds, nanoseconds = STAMP.unpack_from(stamps, i * STAMP.size)
                if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
                    at = seconds + nanoseconds * 1e-9 + shift
                    if now - MAX_WAIT < at < now:
                        times[i] = at
            words[word + 10] = STAMP.size
        return count

    def _read_one(self) -> int:
        try:
            length, address = self._socket.recvfrom_into(self.views[0])
        except OSError:
            return 0
        self.lengths[0] = length
        self.times[0] = time.monotonic()
        self.keys[0] = socket_address(address, self._socket.family)
        return 1


def is_temporary(number: int) -> bool:
    return number in (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)

"""What Chromium 156 sent, as it dumps its packets itself (`--enable-logging --v=1` and its field trial for RTP dumps).

A canvas of 1280x720 at 30 frames a second, and a tone. Of each packet the dependency descriptor and the first bytes of
the payload, in hex; from the first packet of a stream on, without those in the midst of a frame that only go on.
"""

from typing import NamedTuple


class Packet(NamedTuple):
    marker: bool  # the picture's last packet
    dependency_descriptor: str
    payload: str  # as far as it matters


# VP9 in three spatial layers that refer to each other in key pictures alone.
VP9_L3T3_KEY = [
    Packet(
        False,
        (
            "800001c0081485214eaaaaa8000600004000100002aa80a8000600004000100002a000a800060000400016d549241b55"
            "24906d54923157e001974ca864330e222396eca8655304224390eca87753013f00b3027f016704ff02cf0380"
        ),
        "bab2ee1010014000b483",
    ),
    Packet(True, "400001", "b4b2ee1031"),
    Packet(True, "c300021a00080000", "fdb2ef500287"),
    Packet(False, "8200031a20100000", "f9b2f0300487"),
    Packet(True, "4200031a20100000", "f5b2f03004bb"),
    Packet(False, "8300041200", "f9b2f1500287"),
    Packet(True, "4300041200", "f5b2f1500270"),
    Packet(
        False,
        (
            "80000580081485214eaaaaa8000600004000100002aa80a8000600004000100002a000a800060000400016d549241b55"
            "24906d54923157e001974ca864330e222396eca8655304224390eca87753013f00b3027f016704ff02cf"
        ),
        "bab2f21050014000b402800168050002d083",
    ),
    Packet(False, "000005", "b0b2f21035"),
    Packet(False, "400005", "b4b2f210d2"),
    Packet(False, "850006", "b8b2f21387"),
    Packet(False, "050006", "b0b2f21315"),
    Packet(False, "450006", "b4b2f21322"),
    Packet(False, "8a0007", "b9b2f21587"),
    Packet(False, "0a0007", "b1b2f2157f"),
    Packet(True, "4a0007", "b5b2f215df"),
    Packet(False, "c30008", "fdb2f3500287"),
    Packet(False, "880009", "f9b2f3520287"),
    Packet(False, "080009", "f1b2f35202b7"),
    Packet(False, "480009", "f5b2f35202ea"),
    Packet(False, "8d000a", "f9b2f3540287"),
    Packet(False, "0d000a", "f1b2f354022f"),
    Packet(True, "4d000a", "f5b2f354026e"),
    Packet(False, "82000b", "f9b2f4300487"),
    Packet(False, "42000b", "f5b2f430044f"),
    Packet(False, "87000c", "f9b2f4320487"),
]

# VP9 in two spatial layers; the second one begins without a key frame.
VP9_L2T3 = [
    Packet(
        False,
        ("810001c00514853abfaaa18f04304302a02a006001001b934515e082704608c0c787004321651111543276813f80b3827f81678e"),
        "ba94c510100280016883",
    ),
    Packet(False, "010001", "b094c510dd"),
    Packet(True, "410001", "b494c51016"),
    Packet(False, "8300021a000800", "f894c6500287"),
    Packet(False, "0300021a000800", "f094c6500252"),
    Packet(True, "4300021a000800", "f494c650020c"),
    Packet(False, "8200031a201000", "f894c7300487"),
    Packet(False, "0200031a201000", "f094c73004ad"),
    Packet(True, "4200031a201000", "f494c73004c1"),
    Packet(False, "8300041a001800", "f894c8500287"),
    Packet(False, "0300041a001800", "f094c8500257"),
    Packet(True, "4300041a001800", "f494c850029f"),
    Packet(False, "8000055fe9808080", "fa94c910083002800168050002d087"),
    Packet(False, "0000051a602020", "f094c910082d"),
    Packet(False, "4000051a602020", "f494c9100840"),
    Packet(False, "860006", "b994c91387"),
    Packet(False, "060006", "b194c9136d"),
    Packet(True, "460006", "b594c91351"),
    Packet(False, "830007", "f894ca500287"),
    Packet(False, "030007", "f094ca500230"),
    Packet(False, "430007", "f494ca5002f7"),
    Packet(False, "880008", "f994ca530287"),
    Packet(False, "080008", "f194ca5302e1"),
    Packet(True, "480008", "f594ca5302b1"),
    Packet(False, "820009", "f894cb300487"),
    Packet(False, "020009", "f094cb3004a5"),
]

# AV1 in three spatial layers, of which bandwidth allows two; what is produced is told until it was acknowledged.
AV1_L3T3 = [
    Packet(
        False,
        (
            "c10001c0081485214eafffaaaa863cf0430c10c302afc0aaa0063c00430010c002a000a80006000040001d954926e082"
            "b04a0941b820ac1282503157f974000ca864330e222222eca8655304224230eca87753013f00b3027f016704ff02cf1f"
            "80"
        ),
        "281d080087072b8195c04a60e530329809441ca20651012d4cffb3c01a00803400124fcb3813f80b",
    ),
    Packet(True, "c60002", "10340831e040"),
    Packet(False, "c300031a20100800", "103440350800"),
    Packet(True, "c800041a2800604000", "103448351007"),
    Packet(False, "c200051a60201800", "103420310100"),
    Packet(True, "c700061a6800a08000", "103428310206"),
    Packet(False, "c300071a20302800", "10344035080c"),
    Packet(False, "8800081a2800e0c000", "503448351013"),
    Packet(True, "4800081a2800e0c000", "90d61a0eb27d"),
    Packet(False, "c000091ae0403800", "103400310020"),
    Packet(False, "85000a12e800", "50340831e040"),
    Packet(False, "05000a12e800", "d0debd270de7"),
    Packet(True, "45000a12e800", "90051a0ed540"),
    Packet(False, "c3000b1a20100800", "103440350800"),
    Packet(False, "88000c1a2800604000", "503448351007"),
    Packet(True, "48000c1a2800604000", "9058120eb72c"),
    Packet(False, "c2000d1a60201800", "103420310100"),
    Packet(False, "87000e1a6800a08000", "503428310206"),
]

# AV1 in three temporal layers.
AV1_L1T3 = [
    Packet(
        False,
        "800001800214eaa860414d1410208427013f00b3",
        "680f0800210700818040410f3fb3006802340010447004104104820900dd2ba861434a2e3422a467",
    ),
    Packet(False, "000001", "d0a3849bd9f0"),
    Packet(True, "400001", "901851fa7e1b"),
    Packet(False, "830002", "503440300000"),
    Packet(False, "030002", "d08f14d9e4c0"),
    Packet(True, "430002", "90f3b9e49d4a"),
    Packet(False, "820003", "503420300040"),
    Packet(False, "020003", "d0352b3c9537"),
    Packet(True, "420003", "902480e50789"),
    Packet(False, "840004", "503440340004"),
    Packet(False, "040004", "d07ac007a198"),
    Packet(True, "440004", "90d3d699038f"),
    Packet(False, "810005", "503400300020"),
    Packet(False, "010005", "d0a3ca506c40"),
]

# H264 of the profile "high": parameters in an aggregate, the key frame in fragments, then a frame that refers to it.
H264 = [
    Packet(False, "", "7800136742c0158c8d40a0cbcf37010d010784423500000468ce3c80"),
    Packet(False, "", "7c85b80004000008ffc3e1e1a8a0006b802de589e9c166f7578e0002"),
    Packet(False, "", "7c0523f55fd7fffe0110cc8c5d797f8047abcbfdc16701129a604bf8"),
    Packet(True, "", "7c45efffc0a67cfc2d809b5e05f59e1368e7fe04ca6bb57f5fc23d7c"),
    Packet(False, "", "7c81e0004000be408f9a36eee02ac62c9dfdf6eeeeee8d005786b39f"),
    Packet(True, "", "7c4111dffffff00b563e2e6fffffa00495e020a941e7fe7f3be1bf8f"),
]

"""How good a conversation sounds, from 1 to 4.5, by the E-model of ITU-T G.107 in its reduced form.

The model adds up what impairs a call. With everything that a digital call does not have (noise of lines, loudness,
sidetone, echo) at its default, a perfect one has the rating R = 93.2, and what is left is delay and loss:

    R = 93.2 - Idd - Ie,eff        (G.107, 7.1; Idd: 7.4; Ie,eff: 7.5)

and from R the mean opinion score (annex B). The scale is that of telephone sound: 4.41 is as good as it gets, however
wide the sound of Opus is.
"""

from __future__ import annotations

from math import log2

PERFECT = 93.2  # R with all parameters at their defaults (G.107, table 2)
UNHEARD_DELAY = 100.0  # ms from mouth to ear: less is not noticed (mT, G.107 table 2)

# Opus is not in G.113. At the 24 kbit/s and more that browsers send it is no worse than the reference, G.711 (Ie = 0).
OPUS_IMPAIRMENT = 0.0
# What loss costs (Bpl, packet-loss robustness): G.711 with concealment has 25.1, G.729A 19 (G.113, appendix I). Opus
# with in-band FEC and concealment is taken to lie between, as in rtcscore, by which LiveKit judges.
OPUS_ROBUSTNESS = 20.0
OPUS_DELAY = 26.5  # ms: a frame of 20 and a look ahead of 6.5 (RFC 6716, 2)


def voice_score(*, rtt: float, jitter: float, loss: float, buffer: float | None = None) -> float:
    """The score of the voices that somebody hears. Milliseconds; `loss` in percent, with what came too late.

    `rtt`: to the server and back, which stands for the way from a speaker like oneself to the server and on. Where two
    are connected directly, half of theirs.
    `buffer`: how long sound waits to be played; where it is not known, twice the jitter.
    """
    delay = rtt + (2 * jitter if buffer is None else buffer) + OPUS_DELAY
    rating = PERFECT - delay_impairment(delay) - loss_impairment(loss, OPUS_IMPAIRMENT, OPUS_ROBUSTNESS)
    return opinion_score(rating)


def delay_impairment(delay: float) -> float:
    """Idd: the impairment by too long a delay from mouth to ear, in ms, without echo (G.107, 7.4)."""
    if delay <= UNHEARD_DELAY:
        return 0.0
    x = log2(delay / UNHEARD_DELAY)
    return 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)


def loss_impairment(loss: float, impairment: float, robustness: float, burst: float = 1.0) -> float:
    """Ie,eff of a codec (its Ie and Bpl) at a loss in percent (G.107, 7.5).

    `burst`: how much longer bursts of losses are than by chance; 1 for losses by chance.
    """
    return impairment + (95 - impairment) * loss / (loss / burst + robustness)


def opinion_score(rating: float) -> float:
    """The mean opinion score of a rating R (G.107, annex B)."""
    if rating <= 0:
        return 1.0
    if rating >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6)

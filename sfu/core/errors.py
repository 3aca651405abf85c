"""The one error of every parser in the core: bytes from the network that are not what they claim to be."""


class ParseError(ValueError):
    """A peer's bad packet: the caller counts it and drops it; nothing else happens."""

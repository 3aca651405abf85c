"""What can keep a recording from being composed."""


class NothingRecorded(Exception):
    """The folder holds no recording at all: trying again cannot help."""


class CompositionFailed(Exception):
    """Its message is for people: it is shown beside Retry."""


class StillRecording(Exception):
    """A media worker writes there."""

"""The live stream: a class composed as it happens, for people who only watch.

    media worker -> packet logs -> `python -m recordings.live` -> segments, parts, playlists -> `/live/<id>/` -> viewers
                                                               -> `recordings.live.push`      -> RTMP

The process in the middle knows no Django, no database and no worker: a folder in, a folder out (`job`). What Django
knows of a stream is in `models`, `services`, `handlers`, `views`; `keeper` starts the process and starts it again.
"""

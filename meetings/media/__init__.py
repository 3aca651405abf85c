"""How a web process places rooms on media workers and speaks for browsers to them.

`lifecycle` and `handlers` register the media part with the classroom (the app imports them when Django starts);
`controller` holds a process's connections and rooms, `room_media` one room, `session_media` one person's share of it;
`placement` and `ring` decide which worker has a room, `pool` connects to it. What other apps use is `recording`
(start, stop, mark) and `hooks`.
"""

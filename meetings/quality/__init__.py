"""How good everybody's connection is: judged from what the browsers report, told to the teachers, summed up at the end.

`judgement` and `score` are pure; `totals` adds up one person's reports; `monitor` is a room's in one web process;
`summaries` puts the sums into the database. The page judges what it measures itself in static/js/room/quality.js.
"""

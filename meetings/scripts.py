"""The atomic steps in Redis, in Lua. `eventlog` and `live` call them; what each answers stands there.

A room's keys (`lectern:room:<code>:...`):
seq        the number of the last event              log        stream: the events themselves, id <seq>-0
people     hash: participant_id -> JSON              leases     zset: participant_id -> when it runs out, seconds
sessions   hash: participant_id -> session           sockets    hash: participant_id -> the one socket that counts
hands      zset: participant_id -> raised at, µs     producers  hash: producer_id -> JSON
info       hash: recording and such, JSON            pending    hash: participant_id -> news not yet told
gate       until when (ms) the next frame of such news must wait

People, leases and what is theirs are kept for a day after the last sign of anybody: a room that all have left without a
word, and that nobody ever enters again, does not stay in Redis for ever.
"""

# The number begins at the clock's microseconds, so that the events of a log that was lost with Redis are never
# mistaken for later ones: no room has an event a microsecond, and JavaScript counts them exactly until the year 2255.
NUMBER = """
local KEPT_EVENTS, KEPT_SECONDS, KEPT_KEYS = 1000, 300, 604800
local function clock_us()
    local t = redis.call('TIME')
    return tonumber(t[1]) * 1000000 + tonumber(t[2])
end
local function ensure(seq_key)
    if redis.call('EXISTS', seq_key) == 0 then
        redis.call('SET', seq_key, string.format('%.0f', clock_us()), 'EX', KEPT_KEYS)
    end
end
local function number(seq_key, log_key, body)
    ensure(seq_key)
    local seq = string.format('%.0f', redis.call('INCR', seq_key))
    local now = clock_us() / 1000000
    redis.call('XADD', log_key, seq .. '-0', 't', string.format('%.0f', now), 'b', body)
    for _ = 1, 3 do
        if redis.call('XLEN', log_key) <= KEPT_EVENTS then break end
        local oldest = redis.call('XRANGE', log_key, '-', '+', 'COUNT', 1)[1]
        if tonumber(oldest[2][2]) >= now - KEPT_SECONDS then break end
        redis.call('XDEL', log_key, oldest[1])
    end
    redis.call('EXPIRE', log_key, KEPT_KEYS)
    redis.call('EXPIRE', seq_key, KEPT_KEYS)
    return seq
end
"""

# KEYS seq log once; ARGV body once-seconds -> {seq, fresh}. An empty name in KEYS[3]: number in any case.
PUBLISH = (
    NUMBER
    + """
if KEYS[3] ~= '' then
    local earlier = redis.call('GET', KEYS[3])
    if earlier then return {earlier, 0} end
end
local seq = number(KEYS[1], KEYS[2], ARGV[1])
if KEYS[3] ~= '' then redis.call('SET', KEYS[3], seq, 'EX', ARGV[2]) end
return {seq, 1}
"""
)

# KEYS seq; -> seq, made when there is none.
ENSURE = NUMBER + "ensure(KEYS[1]) return redis.call('GET', KEYS[1])"

# KEYS seq log; ARGV after limit -> {complete, id, body, id, body, ...}
SINCE = """
local after, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local seq = tonumber(redis.call('GET', KEYS[1]) or '-1')
if after > seq then return {0} end
if after == seq then return {1} end
local oldest = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if not oldest or tonumber(string.match(oldest[1], '^%d+')) > after + 1 then return {0} end
local found = redis.call('XRANGE', KEYS[2], string.format('%.0f-0', after + 1), '+', 'COUNT', limit)
local reply = {1}
for _, entry in ipairs(found) do
    reply[#reply + 1] = string.match(entry[1], '^%d+')
    reply[#reply + 1] = entry[2][4]
end
return reply
"""

# News of participants: the last word counts; a patch melts into what is already waiting.
NOTE = """
local function note(pending_key, kind, pid, json)
    local waiting = redis.call('HGET', pending_key, pid)
    if waiting and kind == 'updated' then
        local old = cjson.decode(waiting)
        if old.kind == 'left' then return end
        for name, value in pairs(cjson.decode(json)) do old.data[name] = value end
        redis.call('HSET', pending_key, pid, cjson.encode(old))
    else
        redis.call('HSET', pending_key, pid, '{"kind":"' .. kind .. '","data":' .. json .. '}')
    end
    redis.call('EXPIRE', pending_key, 86400)
end
local function remove(people, sessions, sockets, leases, hands, producers, pid)
    redis.call('HDEL', people, pid)
    redis.call('HDEL', sessions, pid)
    redis.call('HDEL', sockets, pid)
    redis.call('ZREM', leases, pid)
    redis.call('ZREM', hands, pid)
    local all = redis.call('HGETALL', producers)
    for i = 1, #all, 2 do
        if cjson.decode(all[i + 1]).participant_id == pid then redis.call('HDEL', producers, all[i]) end
    end
end
local function seconds() return tonumber(redis.call('TIME')[1]) end
local function keep_a_day(keys)
    for _, key in ipairs(keys) do redis.call('EXPIRE', key, 86400) end
end
"""

# KEYS pending gate seq log; ARGV (kind pid json)*; -> {wait ms, (seq body)*}. At most 4 frames a second a room.
GATHER = (
    NUMBER
    + NOTE
    + """
local FRAME_EVERY = 250
for i = 1, #ARGV, 3 do note(KEYS[1], ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
if redis.call('EXISTS', KEYS[1]) == 0 then return {0} end
local now, gate = math.floor(clock_us() / 1000), tonumber(redis.call('GET', KEYS[2]) or '0')
if gate > now and gate - now < 5000 then return {gate - now} end
local lists = {joined = {}, updated = {}, left = {}}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
    local news = cjson.decode(all[i + 1])
    local list = lists[news.kind]
    -- cjson writes an empty list as {}; inside a JSON string the quotes would be escaped, so this hits the field alone.
    list[#list + 1] = string.gsub(cjson.encode(news.data), '"producers":{}', '"producers":[]')
end
redis.call('DEL', KEYS[1])
local reply, frames = {0}, 0
for _, kind in ipairs({'joined', 'updated', 'left'}) do
    if #lists[kind] > 0 then
        local people = table.concat(lists[kind], ',')
        local body = '"event":"participant:' .. kind .. '","data":{"participants":[' .. people .. ']}}'
        reply[#reply + 1] = number(KEYS[3], KEYS[4], body)
        reply[#reply + 1] = body
        frames = frames + 1
    end
end
redis.call('SET', KEYS[2], string.format('%.0f', now + FRAME_EVERY * frames), 'PX', 5000)
return reply
"""
)

# KEYS people sessions sockets leases; ARGV pid wanted-session new-session socket person-json capacity lease
# -> {joined/returned/replaced/full/stale, session, the socket that counted until now or ''}
ENTER = (
    NOTE
    + """
local pid, wanted, fresh = ARGV[1], ARGV[2], ARGV[3]
local known = redis.call('HGET', KEYS[1], pid)
local capacity = tonumber(ARGV[6])
-- Those whose lease ran out count no more: without a hub nobody has taken them out yet.
local present = redis.call('ZCOUNT', KEYS[4], seconds(), '+inf')
if not known and capacity > 0 and present >= capacity then return {'full', '', ''} end
local old_socket = redis.call('HGET', KEYS[3], pid) or ''
local current = redis.call('HGET', KEYS[2], pid)
-- A tab that slept while another took its place must not throw that one out when it wakes.
if known and wanted ~= '' and wanted ~= current and old_socket ~= '' then return {'stale', '', ''} end
local person, outcome, session = cjson.decode(ARGV[5]), 'joined', fresh
if known and current == wanted then
    local before = cjson.decode(known)
    person.joined_at = before.joined_at
    for name, value in pairs(person) do before[name] = value end
    person, outcome, session = before, 'returned', wanted
else
    if known then outcome = 'replaced' end
    person.audio, person.video, person.screen = false, false, false
end
person.connected, person.away_at = true, nil
redis.call('HSET', KEYS[1], pid, cjson.encode(person))
redis.call('HSET', KEYS[2], pid, session)
redis.call('HSET', KEYS[3], pid, ARGV[4])
redis.call('ZADD', KEYS[4], seconds() + tonumber(ARGV[7]), pid)
keep_a_day(KEYS)
return {outcome, session, old_socket}
"""
)

# KEYS people sockets leases pending; ARGV pid socket lease -> 1 when that socket still counted
DISCONNECT = (
    NOTE
    + """
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[2], ARGV[1])
local person = redis.call('HGET', KEYS[1], ARGV[1])
if not person then return 0 end
person = cjson.decode(person)
person.connected, person.away_at = false, seconds()
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(person))
redis.call('ZADD', KEYS[3], seconds() + tonumber(ARGV[3]), ARGV[1])
note(KEYS[4], 'updated', ARGV[1], '{"participant_id":"' .. ARGV[1] .. '","connected":false}')
return 1
"""
)

# KEYS people sessions sockets leases hands producers pending; ARGV pid session-or-'' reason -> 1 when it was there
LEAVE = (
    NOTE
    + """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
if ARGV[2] ~= '' and redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
remove(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], ARGV[1])
if ARGV[3] ~= '' then
    note(KEYS[7], 'left', ARGV[1], '{"participant_id":"' .. ARGV[1] .. '","reason":"' .. ARGV[3] .. '"}')
end
return 1
"""
)

# The same KEYS; ARGV lease grace -> {pid, session, seconds since it was seen, ...} of those whose lease ran out `grace`
# seconds ago, each told to one caller alone
REAP = (
    NOTE
    + """
local reply, now = {}, seconds()
for _, pid in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now - tonumber(ARGV[2]), 'LIMIT', 0, 200)) do
    local person = redis.call('HGET', KEYS[1], pid)
    local seen = person and cjson.decode(person).away_at or redis.call('ZSCORE', KEYS[4], pid) - tonumber(ARGV[1])
    reply[#reply + 1] = pid
    reply[#reply + 1] = redis.call('HGET', KEYS[2], pid) or ''
    reply[#reply + 1] = string.format('%.0f', now - seen)
    remove(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], pid)
    note(KEYS[7], 'left', pid, '{"participant_id":"' .. pid .. '","reason":"lost"}')
end
return reply
"""
)

# KEYS leases and all that is kept with them; ARGV lease pid*; renews those who are still in -> the others
RENEW = (
    NOTE
    + """
local till = seconds() + tonumber(ARGV[1])
local gone = {}
for i = 2, #ARGV do
    if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
        redis.call('ZADD', KEYS[1], till, ARGV[i])
    else
        gone[#gone + 1] = ARGV[i]
    end
end
keep_a_day(KEYS)
return gone
"""
)

# KEYS people sessions info seq log; ARGV allowed fresh-id failed-id -> {seq, body} when the pair has changed
PAIR = (
    NUMBER
    + """
local known = redis.call('HGET', KEYS[3], 'p2p')
known = known and cjson.decode(known)
if known and known.pair == ARGV[3] then redis.call('HSET', KEYS[3], 'p2p_failed', cjson.encode(known.key)) end
local count, pids, key, reason = redis.call('HLEN', KEYS[1]), {}, nil, nil
if ARGV[1] ~= '1' then
    reason = 'mode'
elseif redis.call('HEXISTS', KEYS[3], 'recording') == 1 then
    reason = 'recording'
elseif redis.call('HEXISTS', KEYS[3], 'stream') == 1 then
    reason = 'stream'
elseif count ~= 2 then
    reason = count > 2 and 'joined' or 'left'
else
    pids = redis.call('HKEYS', KEYS[1])
    table.sort(pids)
    -- Of these very visits: whoever reloads the page has another session, and no connection any more.
    key = table.concat({
        redis.call('HGET', KEYS[2], pids[1]) or '', redis.call('HGET', KEYS[2], pids[2]) or ''}, ' ')
    if redis.call('HGET', KEYS[3], 'p2p_failed') == cjson.encode(key) then key, reason = nil, 'failed' end
end
if reason and reason ~= 'failed' then redis.call('HDEL', KEYS[3], 'p2p_failed') end
if key == (known and known.key or nil) then return {} end
local data
if key then
    local pair = {pair = ARGV[2], participants = pids}
    data = cjson.encode(pair)
    pair.key = key
    redis.call('HSET', KEYS[3], 'p2p', cjson.encode(pair))
else
    redis.call('HDEL', KEYS[3], 'p2p')
    data = '{"pair":null,"participants":null,"reason":"' .. reason .. '"}'
end
local body = '"event":"p2p:changed","data":' .. data .. '}'
return {number(KEYS[4], KEYS[5], body), body}
"""
)

# KEYS hash; ARGV field patch-json -> the merged JSON, or nil when there is nothing to patch
PATCH = """
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if not stored then return nil end
local value = cjson.decode(stored)
for name, new in pairs(cjson.decode(ARGV[2])) do value[name] = new end
stored = cjson.encode(value)
redis.call('HSET', KEYS[1], ARGV[1], stored)
return stored
"""

# KEYS hash; ARGV closed socket's field, session's field, its value as it was read ('' for none), its new value
# -> 1, or 0 when another process was quicker
FOLD = """
if (redis.call('HGET', KEYS[1], ARGV[2]) or '') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[4])
redis.call('HDEL', KEYS[1], ARGV[1])
return 1
"""

# KEYS seq people hands producers info -> {seq, [people], [hands], [producers], {info}}: one moment of the room
SNAPSHOT = """
local hands = redis.call('ZRANGE', KEYS[3], 0, -1)
for i, pid in ipairs(hands) do hands[i] = '"' .. pid .. '"' end
local info = redis.call('HGETALL', KEYS[5])
local fields = {}
for i = 1, #info, 2 do fields[#fields + 1] = '"' .. info[i] .. '":' .. info[i + 1] end
return {
    redis.call('GET', KEYS[1]) or '',
    '[' .. table.concat(redis.call('HVALS', KEYS[2]), ',') .. ']',
    '[' .. table.concat(hands, ',') .. ']',
    '[' .. table.concat(redis.call('HVALS', KEYS[4]), ',') .. ']',
    '{' .. table.concat(fields, ',') .. '}',
}
"""

# KEYS people hands; ARGV pid -> {position, raised at ms, newly}, or {0} for somebody who is not in
RAISE_HAND = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return {0, 0, 0} end
local t = redis.call('TIME')
-- Microseconds keep two hands of one millisecond in their order.
local newly = redis.call('ZADD', KEYS[2], 'NX', tonumber(t[1]) * 1000000 + tonumber(t[2]), ARGV[1])
local at = redis.call('ZSCORE', KEYS[2], ARGV[1])
return {redis.call('ZRANK', KEYS[2], ARGV[1]) + 1, math.floor(tonumber(at) / 1000), newly}
"""

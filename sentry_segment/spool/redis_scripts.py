"""What is done to a spool in Redis, each in one step: Lua scripts (https://redis.io/docs/latest/develop/programmability/eval-intro/).

The keys, all of one slot of a cluster by the tag in their names:

- `{sentry-segment}:meta`, a hash: `generation`, which begins with the format's number and is made
  anew with the spool; `writer`, the last one begun; `bytes`, what all messages take.
- `{sentry-segment}:keys`, a set: the digests of the write keys.
- `{sentry-segment}:leases:DIGEST`, a sorted set: the key's writers by the end of their leases.
- `{sentry-segment}:writer:N`, a hash: `holder`, unless it was released; `top`, the number of its
  last message; `bytes`, what its messages have in them.
- `{sentry-segment}:messages:N`, a stream: its messages. An entry's id is the message's number and
  its length, so that what is deleted need not be read for it.
- `{sentry-segment}:turns:DIGEST`, a list: when the latest requests are to be made, newest first,
  for the rate limit.

Numbers of writers grow with the clock, in microseconds: what was restored from a backup that lacks
the latest of them begins no other one with its number.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

FORMAT = "1"
TAG = "{sentry-segment}:"
OVERHEAD = 128  # bytes that a message takes beside its own, about

# Of all scripts: KEYS are those that do not depend on a writer. ARGV are the digest, the holder,
# the generation that was seen last or "", the seconds of a lease, and the time or "". Each answers
# with a state, and with the generation where that is "ok".
_PRELUDE = """
local tag = '{sentry-segment}:'
local meta, keys, leases, turns = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local digest, holder, seen = ARGV[1], ARGV[2], ARGV[3]
local lease, now = tonumber(ARGV[4]), tonumber(ARGV[5])
if not now then
    local time = redis.call('TIME')
    now = time[1] + time[2] / 1000000
end
local generation = redis.call('HGET', meta, 'generation')
if seen ~= '' and generation ~= seen then return {'lost'} end
if generation and string.sub(generation, 1, 2) ~= '1:' then return {'format', generation} end
local function about(writer) return tag .. 'writer:' .. writer end
local function of(writer) return tag .. 'messages:' .. writer end
local function is_held(writer) return redis.call('HGET', about(writer), 'holder') == holder end
local function remove(writer, entry)
    if redis.call('XDEL', of(writer), entry) == 0 then return end
    local size = tonumber(string.match(entry, '%-(%d+)$'))
    redis.call('HINCRBY', meta, 'bytes', -size - OVERHEAD)
    if redis.call('EXISTS', about(writer)) == 1 then
        redis.call('HINCRBY', about(writer), 'bytes', -size)
    end
end
""".replace("OVERHEAD", str(OVERHEAD))


class Text(NamedTuple):
    """A script, as it is sent."""

    text: bytes
    sha: str
    """By which the server knows it from the second time on."""


class Script(NamedTuple):
    """A script."""

    text: Text
    for_old: Text
    """For Redis before 7, which does not know what the first line says."""


# Before Redis 7, a script that has written may go on writing when memory is full.
_ANYWAY = "redis.call('HDEL', KEYS[1], '-')"


def _script(body: str, when_full: bool = True, writes: bool = False) -> Script:
    # What frees memory must be done when there is none.
    head = "#!lua flags=allow-oom" if when_full else "#!lua"
    old_head = _ANYWAY if when_full and writes else ""
    return Script(_text(head + _PRELUDE + body), _text(old_head + _PRELUDE + body))


def _text(code: str) -> Text:
    return Text(code.encode(), hashlib.sha1(code.encode()).hexdigest())


# ARGV: a generation to begin with, the writer or "", its last message's number as the holder knows
# it, the most bytes, and the bodies. Answers with the writer, the number of the message before the
# first that was added, and how many were.
ADD = _script(
    """
if not generation then
    generation = ARGV[6]
    redis.call('HSET', meta, 'generation', generation, 'writer', 0, 'bytes', 0)
end
local writer, known, most, top = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9]), 0
if writer ~= '' and is_held(writer) then
    top = tonumber(redis.call('HGET', about(writer), 'top'))
    -- What came with a call whose answer got lost: the holder has it in memory.
    while top > known do
        local entries = redis.call('XRANGE', of(writer), (known + 1) .. '-0', '+', 'COUNT', 100)
        if #entries == 0 then break end
        for _, entry in ipairs(entries) do remove(writer, entry[1]) end
    end
    top = math.max(top, known)
else
    local time = redis.call('TIME')
    local last = tonumber(redis.call('HGET', meta, 'writer'))
    writer = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
    redis.call('HSET', meta, 'writer', writer)
    redis.call('HSET', about(writer), 'holder', holder, 'top', 0, 'bytes', 0)
    redis.call('SADD', keys, digest)
end
redis.call('ZADD', leases, now + lease, writer)
local taken, size, added = tonumber(redis.call('HGET', meta, 'bytes')), 0, 0
for at = 10, #ARGV do
    local length = #ARGV[at]
    if taken + size + (added + 1) * OVERHEAD + length > most then break end
    added, size = added + 1, size + length
    redis.call('XADD', of(writer), string.format('%.0f-%d', top + added, length), 'b', ARGV[at])
end
if added > 0 then
    redis.call('HINCRBY', meta, 'bytes', size + added * OVERHEAD)
    redis.call('HINCRBY', about(writer), 'bytes', size)
end
redis.call('HSET', about(writer), 'top', string.format('%.0f', top + added))
return {'ok', generation, writer, top, added}
""".replace("OVERHEAD", str(OVERHEAD)),
    when_full=False,
)

# ARGV: the most messages, the most bytes, and for each writer: it, how many entries are to be left
# out, and these. Answers with a list of entries for each.
READ = _script(
    """
local count, size, at, found = tonumber(ARGV[6]), tonumber(ARGV[7]), 8, {}
local is_some = false
local function read(writer, without)
    local entries, start = {}, '-'
    while true do
        local some = redis.call('XRANGE', of(writer), start, '+', 'COUNT', 100)
        for _, entry in ipairs(some) do
            if not without[entry[1]] then
                count, size = count - 1, size - #entry[2][2]
                -- The first in any case: else one that is too long for a request stayed for ever.
                if (count < 0 or size < 0) and is_some then return entries, true end
                is_some = true
                entries[#entries + 1] = {entry[1], entry[2][2]}
            end
        end
        if #some < 100 then return entries, false end
        start = string.format('%.0f-0', tonumber(string.match(some[#some][1], '^%d+')) + 1)
    end
end
while at <= #ARGV do
    local writer, others, without = ARGV[at], tonumber(ARGV[at + 1]), {}
    for each = at + 2, at + 1 + others do without[ARGV[each]] = true end
    at = at + 2 + others
    local entries, is_full = read(writer, without)
    found[#found + 1] = {writer, entries}
    if is_full then break end
end
return {'ok', generation or '', found}
"""
)

# ARGV: pairs of a writer and an entry.
DELETE = _script(
    """
for at = 6, #ARGV, 2 do remove(ARGV[at], ARGV[at + 1]) end
return {'ok', generation or ''}
""",
    writes=True,
)

# ARGV: the writers that are held. Answers with the claimed ones, each with its number of messages,
# and with those that were lost.
TEND = _script(
    """
local held, claimed, lost, are_gone = {}, {}, {}, false
for at = 6, #ARGV do
    local writer = ARGV[at]
    if is_held(writer) then
        held[writer] = true
        redis.call('ZADD', leases, now + lease, writer)
    else
        lost[#lost + 1] = writer
    end
end
local function look_at(writer)
    if held[writer] then return end
    local messages = redis.call('XLEN', of(writer))
    if messages > 0 then
        redis.call('HSET', about(writer), 'holder', holder)
        redis.call('ZADD', leases, now + lease, writer)
        claimed[#claimed + 1] = {writer, messages}
    else
        redis.call('ZREM', leases, writer)
        redis.call('DEL', about(writer), of(writer))
        are_gone = true
    end
end
-- A lease that runs for longer than one can is of before the clock was set back.
for _, writer in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', now)) do look_at(writer) end
local ahead = redis.call('ZRANGEBYSCORE', leases, '(' .. (now + lease + 1), '+inf')
for _, writer in ipairs(ahead) do look_at(writer) end
if are_gone then
    -- What was evicted was not counted down.
    local left = 0
    for _, each in ipairs(redis.call('SMEMBERS', keys)) do
        left = left + redis.call('ZCARD', tag .. 'leases:' .. each)
    end
    if left == 0 then redis.call('HSET', meta, 'bytes', 0) end
end
return {'ok', generation or '', claimed, lost}
""",
    writes=True,
)

# ARGV: the writers that are held.
RELEASE = _script(
    """
for at = 6, #ARGV do
    if is_held(ARGV[at]) then
        redis.call('HDEL', about(ARGV[at]), 'holder')
        redis.call('ZADD', leases, 0, ARGV[at])
    end
end
return {'ok', generation or ''}
""",
    writes=True,
)

# Answers with 1 or 0.
HAS_MESSAGES = _script(
    """
for _, writer in ipairs(redis.call('ZRANGE', leases, 0, -1)) do
    if redis.call('XLEN', of(writer)) > 0 then return {'ok', generation or '', 1} end
end
return {'ok', generation or '', 0}
"""
)

# Answers with: writer, digest, messages, bytes, first body, end of the lease less the time, and
# whether the asking one holds it.
SURVEY = _script(
    """
local found = {}
for _, each in ipairs(redis.call('SMEMBERS', keys)) do
    local writers = redis.call('ZRANGE', tag .. 'leases:' .. each, 0, -1, 'WITHSCORES')
    for at = 1, #writers, 2 do
        local writer = writers[at]
        local messages = redis.call('XLEN', of(writer))
        if messages > 0 then
            local left = tonumber(writers[at + 1]) - now
            if left > lease + 1 then left = 0 end
            local first = redis.call('XRANGE', of(writer), '-', '+', 'COUNT', 1)[1][2][2]
            local size = redis.call('HGET', about(writer), 'bytes') or '0'
            found[#found + 1] = {
                writer, each, messages, size, first,
                string.format('%.17g', math.max(0, left)), is_held(writer) and 1 or 0
            }
        end
    end
end
return {'ok', generation or '', found}
"""
)

# ARGV: how many requests may follow each other at once, the seconds between others, those of the
# stretch, and for how many ahead a turn is given. Answers with the seconds until the turn, and with
# 1 where it is given: else it is too far off, and to be asked for again.
TURN = _script(
    """
local at_once, spacing = tonumber(ARGV[6]), tonumber(ARGV[7])
local stretch, ahead = tonumber(ARGV[8]), tonumber(ARGV[9])
local turn = now
local latest = tonumber(redis.call('LINDEX', turns, 0) or now)
if latest > now + ahead + 1 then  -- by a clock that was set back
    redis.call('DEL', turns)
elseif redis.call('LLEN', turns) >= at_once then
    local first = tonumber(redis.call('LINDEX', turns, at_once - 1))
    turn = math.max(turn, math.min(latest + spacing, first + stretch))
else
    turn = math.max(turn, latest)
end
if turn - now > ahead then
    return {'ok', generation or '', string.format('%.17g', turn - now), 0}
end
redis.call('LPUSH', turns, string.format('%.17g', turn))
redis.call('LTRIM', turns, 0, at_once - 1)
redis.call('EXPIRE', turns, math.ceil(math.min(stretch + ahead, 1e8)) + 60)
return {'ok', generation or '', string.format('%.17g', turn - now), 1}
""",
    writes=True,
)

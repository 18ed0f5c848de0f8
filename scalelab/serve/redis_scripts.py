"""The steps that must happen whole or not at all, as scripts that Redis and Valkey run inside the server.

Keys of a queue, all under one prefix (in braces, so that a cluster keeps them together):
    tasks:P        stream of priority P (0, 1, 2), group `workers`: one field `p`, the packed task
    task:ID        `queued P:ENTRY GATEWAY`, then the answer (JSON, it starts with a brace); expires
    key:KEY        `ID:DIGEST` of the task that used an idempotency key; expires
    later          sorted set: `P:ENTRY` that was given back -> when it is due [ms, the server's clock]
    replies:NAME   stream of a gateway: one field with lines `ID ANSWER`; expires when the gateway is gone
    alive          sorted set: worker -> when it counts as dead [ms, the server's clock]
    dead           stream of dead letters: id, p, reason; the newest `MAX_LETTERS` or some more
    finished       number of answers stored

An entry stands in its stream exactly as long as its task has no answer: what is taken is worth running.
KEYS are always the three streams; ARGV begins with the prefix and the group.
"""

from string import Template

GROUP = "workers"
MAX_LETTERS = 1000

_SHARED = """
local prefix, group = ARGV[1], ARGV[2]

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function remove(receipt)  -- one that is gone already does no harm
  local p, entry = string.match(receipt, '^(%d):(%S+)')
  redis.call('XACK', KEYS[p + 1], group, entry)
  redis.call('XDEL', KEYS[p + 1], entry)
end

local function add(id, payload, p, gateway, ttl_ms)
  local entry = redis.call('XADD', KEYS[p + 1], '*', 'p', payload)
  redis.call('SET', prefix .. 'task:' .. id, 'queued ' .. p .. ':' .. entry .. ' ' .. gateway, 'PX', ttl_ms)
end

local function announce(gateway, lines)
  local to = prefix .. 'replies:' .. gateway
  redis.call('XADD', to, 'MAXLEN', '~', 2000, '*', 'b', table.concat(lines, '\\n'))
  redis.call('EXPIRE', to, 60)
end
"""

PUT = (
    _SHARED
    + """
-- ARGV: max depth, then per task: id, payload, priority, gateway, key, digest, time to live [ms]
local depth = redis.call('XLEN', KEYS[1]) + redis.call('XLEN', KEYS[2]) + redis.call('XLEN', KEYS[3])
local said = {}
for i = 4, #ARGV, 7 do
  local id, payload, p, gateway, key, digest, ttl_ms = unpack(ARGV, i, i + 6)
  local used = key ~= '' and redis.call('GET', prefix .. 'key:' .. key)
  if used then
    said[#said + 1] = used
  elseif redis.call('EXISTS', prefix .. 'task:' .. id) == 1 then
    said[#said + 1] = id .. ':'  -- the same put again, after a connection that broke: it stands
  elseif depth >= tonumber(ARGV[3]) then
    said[#said + 1] = ':'
  else
    add(id, payload, p, gateway, ttl_ms)
    if key ~= '' then redis.call('SET', prefix .. 'key:' .. key, id .. ':' .. digest, 'PX', ttl_ms) end
    depth = depth + 1
    said[#said + 1] = id .. ':' .. digest
  end
end
return {depth, tonumber(redis.call('GET', prefix .. 'finished') or 0), table.concat(said, ' ')}
"""
)

TAKE = (
    _SHARED
    + """
-- ARGV: this worker, how many. Returns priority, entry and fields of each, the highest priority first
local left, said = tonumber(ARGV[4]), {}
for p = 0, 2 do
  local command = {'XREADGROUP', 'GROUP', group, ARGV[3], 'COUNT', left, 'STREAMS', KEYS[p + 1], '>'}
  local found = left > 0 and redis.pcall(unpack(command))
  if found and found.err then  -- the server was emptied or came back without its data: begin anew
    redis.call('XGROUP', 'CREATE', KEYS[p + 1], group, '0', 'MKSTREAM')
    found = redis.call(unpack(command))
  end
  for _, entry in ipairs(found and found[1][2] or {}) do
    said[#said + 1] = {p, entry[1], entry[2]}
    left = left - 1
  end
end
return said
"""
)

FINISH = _SHARED + Template("""
-- ARGV: time to live [ms], then per answer: id, receipt, gateway, body, reason
-- What was queued is removed before anything is written: where the memory is full, answers still make room.
local first, lines = 0, {}
for i = 4, #ARGV, 5 do
  local id, receipt, gateway, body, reason = unpack(ARGV, i, i + 4)
  local stands = redis.call('GET', prefix .. 'task:' .. id)
  local is_first = not stands or string.sub(stands, 1, 1) ~= '{'
  local p, entry = string.match(receipt, '^(%d):(%S+)')
  local kept = is_first and reason ~= '' and redis.call('XRANGE', KEYS[p + 1], entry, entry)[1]
  remove(receipt)
  if is_first then
    if stands then remove(string.sub(stands, 8)) end  -- queued anew since: that one is answered too
    redis.call('SET', prefix .. 'task:' .. id, body, 'PX', ARGV[3])
    if kept then
      local letter = {'id', id, 'p', kept[2][2], 'reason', reason}
      redis.call('XADD', prefix .. 'dead', 'MAXLEN', '~', $max_letters, '*', unpack(letter))
    end
    lines[gateway] = lines[gateway] or {}
    table.insert(lines[gateway], id .. ' ' .. body)
    first = first + 1
  end
end
for gateway, said in pairs(lines) do announce(gateway, said) end
if first > 0 then redis.call('INCRBY', prefix .. 'finished', first) end
return first
""").substitute(max_letters=MAX_LETTERS)

CANCEL = (
    _SHARED
    + """
-- ARGV: id, body, time to live [ms]. Returns the answer that stands afterwards, nil for an unknown task
local key = prefix .. 'task:' .. ARGV[3]
local stands = redis.call('GET', key)
if not stands or string.sub(stands, 1, 1) == '{' then return stands end
local receipt, gateway = string.match(stands, '^queued (%S+) (.*)$')
remove(receipt)
redis.call('ZREM', prefix .. 'later', receipt)
redis.call('SET', key, ARGV[4], 'PX', ARGV[5])
redis.call('INCR', prefix .. 'finished')
announce(gateway, {ARGV[3] .. ' ' .. ARGV[4]})
return ARGV[4]
"""
)

GIVE_BACK = (
    _SHARED
    + """
-- ARGV: this worker, delay [ms], then receipts. What another worker holds by now is left to that one
local due = now_ms() + ARGV[4]
for i = 5, #ARGV do
  local p, entry = string.match(ARGV[i], '^(%d):(%S+)')
  local held = redis.pcall('XPENDING', KEYS[p + 1], group, entry, entry, 1)
  if held[1] and held[1][2] == ARGV[3] then
    redis.call('XCLAIM', KEYS[p + 1], group, '-later', 0, entry, 'JUSTID')
    redis.call('ZADD', prefix .. 'later', due, ARGV[i])
  end
end
return #ARGV - 4
"""
)

TAKE_OVER = (
    _SHARED
    + """
-- ARGV: this worker. Returns priority, entry, fields and attempt of one task that was given back and is due,
-- or that a dead worker held
local function claim(p, entry)
  local key = KEYS[p + 1]
  local held = redis.pcall('XPENDING', key, group, entry, entry, 1)
  if held.err then return end  -- the server forgot its group
  local claimed = redis.call('XCLAIM', key, group, ARGV[3], 0, entry)
  if held[1] and claimed[1] and claimed[1][2] then return {p, entry, claimed[1][2], held[1][4] + 1} end
  redis.call('XACK', key, group, entry)  -- it was answered meanwhile
end

local now = now_ms()
for _, receipt in ipairs(redis.call('ZRANGEBYSCORE', prefix .. 'later', '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('ZREM', prefix .. 'later', receipt)
  local p, entry = string.match(receipt, '^(%d):(%S+)')
  local found = claim(tonumber(p), entry)
  if found then return found end
end
for p = 0, 2 do
  local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[p + 1], group)
  for _, facts in ipairs(consumers.err and {} or consumers) do
    local consumer = {}
    for i = 1, #facts, 2 do consumer[facts[i]] = facts[i + 1] end
    local name = consumer.name
    local until_ms = redis.call('ZSCORE', prefix .. 'alive', name)
    if name ~= ARGV[3] and name ~= '-later' and (not until_ms or tonumber(until_ms) < now) then
      local held = redis.call('XPENDING', KEYS[p + 1], group, '-', '+', 1, name)[1]
      local found = held and claim(p, held[1])
      if found then return found end
      if not held then redis.call('XGROUP', 'DELCONSUMER', KEYS[p + 1], group, name) end
    end
  end
end
redis.call('ZREMRANGEBYSCORE', prefix .. 'alive', '-inf', now - 60000)
return {}
"""
)

BEAT = (
    _SHARED
    + """
-- ARGV: this worker, time to live [ms]. Returns the server's time [ms]
local now = now_ms()
redis.call('ZADD', prefix .. 'alive', now + ARGV[4], ARGV[3])
return now
"""
)

HEALTH = (
    _SHARED
    + """
-- Returns depth, workers, dead letters, in flight, age of the oldest task [ms]
local now, depth, in_flight, oldest = now_ms(), 0, 0, nil
for p = 1, 3 do
  local pending = redis.pcall('XPENDING', KEYS[p], group)  -- no group yet: nothing is in flight
  local entry = redis.call('XRANGE', KEYS[p], '-', '+', 'COUNT', 1)[1]
  local queued = entry and tonumber(string.match(entry[1], '^%d+')) or now
  depth = depth + redis.call('XLEN', KEYS[p])
  in_flight = in_flight + (not pending.err and pending[1] or 0)
  oldest = math.min(oldest or now, queued)
end
in_flight = math.max(0, in_flight - redis.call('ZCARD', prefix .. 'later'))
return {depth, redis.call('ZCOUNT', prefix .. 'alive', now, '+inf'), redis.call('XLEN', prefix .. 'dead'),
  in_flight, now - oldest}
"""
)

RETRY = (
    _SHARED
    + """
-- ARGV: per letter: its entry, id, payload, priority, gateway, time to live [ms]. Returns how many stood
local count = 0
for i = 3, #ARGV, 6 do
  local letter, id, payload, p, gateway, ttl_ms = unpack(ARGV, i, i + 5)
  if redis.call('XDEL', prefix .. 'dead', letter) == 1 then
    add(id, payload, p, gateway, ttl_ms)
    count = count + 1
  end
end
return count
"""
)

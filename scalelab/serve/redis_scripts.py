"""The steps that must happen whole or not at all, as scripts that Redis and Valkey run inside the server.

Keys of a queue, all under one prefix (in braces, so that a cluster keeps them together):
    tasks          stream, group `workers`: one field `p`, the packed task; an entry lives until its answer
    task:ID        `queued`, then the answer (JSON, it starts with a brace); expires
    key:KEY        `ID:DIGEST` of the task that used an idempotency key; expires
    replies:NAME   stream of a gateway: one field with lines `ID ANSWER`; expires when the gateway is gone
    alive          sorted set: worker -> when it counts as dead [ms, the server's clock]
    dead           stream of dead letters: id, payload, reason
    finished       number of answers stored
"""

GROUP = "workers"

_NOW = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
"""

PUT = """
-- KEYS: tasks. ARGV: prefix, max depth, then per task: id, payload, key, digest, time to live [ms]
local prefix, max_depth = ARGV[1], tonumber(ARGV[2])
local depth = redis.call('XLEN', KEYS[1])
local said = {}
for i = 3, #ARGV, 5 do
  local id, key = ARGV[i], prefix .. 'key:' .. ARGV[i + 2]
  local used = ARGV[i + 2] ~= '' and redis.call('GET', key)
  if used then
    said[#said + 1] = used
  elseif redis.call('EXISTS', prefix .. 'task:' .. id) == 1 then
    said[#said + 1] = id .. ':'  -- the same put again, after a connection that broke: it stands
  elseif depth >= max_depth then
    said[#said + 1] = ':'
  else
    redis.call('SET', prefix .. 'task:' .. id, 'queued', 'PX', ARGV[i + 4])
    if ARGV[i + 2] ~= '' then redis.call('SET', key, id .. ':' .. ARGV[i + 3], 'PX', ARGV[i + 4]) end
    redis.call('XADD', KEYS[1], '*', 'p', ARGV[i + 1])
    depth = depth + 1
    said[#said + 1] = id .. ':' .. ARGV[i + 3]
  end
end
return {depth, tonumber(redis.call('GET', prefix .. 'finished') or 0), table.concat(said, ' ')}
"""

FINISH = """
-- KEYS: tasks. ARGV: prefix, group, time to live [ms], then per answer: id, entry, gateway, body, reason
local prefix, group = ARGV[1], ARGV[2]
local first, lines = 0, {}
for i = 4, #ARGV, 5 do
  local id, entry, gateway, body, reason = unpack(ARGV, i, i + 4)
  local stands = redis.call('GET', prefix .. 'task:' .. id)
  if not stands or string.sub(stands, 1, 1) ~= '{' then
    redis.call('SET', prefix .. 'task:' .. id, body, 'PX', ARGV[3])
    if reason ~= '' then
      local kept = redis.call('XRANGE', KEYS[1], entry, entry)
      if kept[1] then
        local letter = {'id', id, 'p', kept[1][2][2], 'reason', reason}
        redis.call('XADD', prefix .. 'dead', 'MAXLEN', '~', 1000, '*', unpack(letter))
      end
    end
    lines[gateway] = lines[gateway] or {}
    table.insert(lines[gateway], id .. ' ' .. body)
    first = first + 1
  end
  redis.call('XACK', KEYS[1], group, entry)
  redis.call('XDEL', KEYS[1], entry)
end
for gateway, said in pairs(lines) do
  local to = prefix .. 'replies:' .. gateway
  redis.call('XADD', to, 'MAXLEN', '~', 2000, '*', 'b', table.concat(said, '\\n'))
  redis.call('EXPIRE', to, 60)
end
if first > 0 then redis.call('INCRBY', prefix .. 'finished', first) end
return first
"""

BEAT = (
    _NOW
    + """
-- KEYS: alive. ARGV: worker, time to live [ms]. Returns the server's time [ms]
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
return now
"""
)

TAKE_OVER = (
    _NOW
    + """
-- KEYS: tasks, alive. ARGV: group, this worker. Returns entry, payload, attempt of one task of a dead worker
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return {} end
for _, facts in ipairs(consumers) do
  local consumer = {}
  for i = 1, #facts, 2 do consumer[facts[i]] = facts[i + 1] end
  local until_ms = redis.call('ZSCORE', KEYS[2], consumer.name)
  if consumer.name ~= ARGV[2] and (not until_ms or tonumber(until_ms) < now) then
    local held = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, consumer.name)
    if #held == 0 then
      redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
      redis.call('ZREM', KEYS[2], consumer.name)
    else
      local entry = held[1][1]
      local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, entry)
      if claimed[1] and claimed[1][2] then return {entry, claimed[1][2][2], held[1][4] + 1} end
      redis.call('XACK', KEYS[1], ARGV[1], entry)
    end
  end
end
return {}
"""
)

HEALTH = (
    _NOW
    + """
-- KEYS: tasks, alive, dead. ARGV: group. Returns depth, workers, dead letters, in flight, oldest [ms]
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1])  -- no group yet: nothing is in flight
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
local age = oldest and now - tonumber(string.match(oldest[1], '^%d+')) or 0
return {redis.call('XLEN', KEYS[1]), redis.call('ZCOUNT', KEYS[2], now, '+inf'), redis.call('XLEN', KEYS[3]),
  not pending.err and pending[1] or 0, math.max(0, age)}
"""
)

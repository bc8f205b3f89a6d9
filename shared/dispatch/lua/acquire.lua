-- Take a lease on an execution environment: one atomic answer to "where may this invocation run".
--
-- KEYS  1 state           hash    counters, limits, epochs and revisions of the cell (fields: see keys.py)
--       2 idle:<version>  zset    "<environment>@<worker>" -> last use, Unix ms; idle environments of this version
--       3 leases:<h>:u    hash    lease -> "<function>\n<version>"; the holder's leases counted in the account's pool
--       4 leases:<h>:r    hash    the same, counted in a function's reserved concurrency
--       5 free            zset    worker -> free slots
--       6 lru             zset    "<environment>@<worker>\n<version>" -> last use; may name busy or gone ones, checked when read
-- ARGV  1 rev field   2 res field   3 run field (each <kind>:<function>)
--       4 revision of the caller's target   5 reserved concurrency, "" for none   6 account limit if none is stored
--       7 "<function>\n<version>"   8 key prefix
--       9 epoch field (epoch:<run id of this Redis>)   10 workers to avoid: "" or ",a,b,"   11 now, Unix ms
-- Reply {"w", lease, pool, sticky}          warm; lease = "<environment>@<worker>#<epoch>.<fence>", pool "u" or "r"
--       {"c", lease, pool, sticky, victim}  cold; victim: environment to stop first at that worker, or ""
--       {"t", pool, retry}                  a limit is reached; retry 1: holders were asked to give back what they do not use
--       {"s", revision}                     the caller's target is older than `revision`
--       {"n"}                               no worker has room; the next release publishes "room"
--       {"b", epoch}                        being rebuilt (epoch "" when nobody began yet)
local s = redis.call('HMGET', KEYS[1], ARGV[9], 'fence', 'running', 'limit', ARGV[1], ARGV[2], ARGV[3], 'sticky', 'waiting')
local epoch = s[1]
if not epoch then
  local coming = redis.call('HGET', KEYS[1], 'next')
  if not coming then
    redis.call('PUBLISH', ARGV[8] .. 'events', 'wiped')
  end
  return {'b', coming or ''}
end

local reserved = s[6] or ''
if s[5] ~= ARGV[4] then
  if s[5] and tonumber(s[5]) > tonumber(ARGV[4]) then
    return {'s', s[5]}
  end
  reserved = ARGV[5]
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[4], ARGV[2], reserved)
end

local now = tonumber(ARGV[11])
local run = tonumber(s[7] or '0')
local running = tonumber(s[3] or '0')
local pool, used, limit = 'u', running, tonumber(s[4] or ARGV[6])
if reserved ~= '' then
  pool, used, limit = 'r', run, tonumber(reserved)
end

-- `sticky` holds when a holder was last allowed to keep a lease it does not use; negative: recalled at that time.
local function recall()
  local granted = tonumber(s[8] or '0')
  if granted > now - 5000 then
    redis.call('HSET', KEYS[1], 'sticky', '-' .. ARGV[11])
    redis.call('PUBLISH', ARGV[8] .. 'events', 'recall')
    return 1
  end
  return (granted < 0 and -granted > now - 20) and 1 or 0
end

if used >= limit then
  return {'t', pool, limit > 0 and recall() or 0}
end

local fence = tonumber(s[2] or '0') + 1
local avoid = ARGV[10]

local function avoided(worker)
  return avoid ~= '' and string.find(avoid, ',' .. worker .. ',', 1, true)
end

local function newest_idle()
  local popped = redis.call('ZPOPMAX', KEYS[2])
  if avoid == '' or not popped[1] then
    return popped[1]
  end
  local skipped, found = {}, nil
  for _ = 1, 64 do
    if not popped[1] then break end
    if not avoided(string.match(popped[1], '@(.+)$')) then
      found = popped[1]
      break
    end
    skipped[#skipped + 1] = popped
    popped = redis.call('ZPOPMAX', KEYS[2])
  end
  for _, entry in ipairs(skipped) do
    redis.call('ZADD', KEYS[2], entry[2], entry[1])
  end
  return found
end

local function most_free()
  local last = avoid == '' and 0 or 15
  local workers = redis.call('ZREVRANGE', KEYS[5], 0, last, 'WITHSCORES')
  for i = 1, #workers, 2 do
    if tonumber(workers[i + 1]) > 0 and not avoided(workers[i]) then
      return workers[i]
    end
  end
end

-- The least recently used idle environment of any version; its slot stays taken, by the new one. A draining worker has no
-- place in `free` and gets nothing new.
local function evict()
  local kept, victim, from = {}, '', nil
  for _ = 1, 64 do
    local head = redis.call('ZRANGE', KEYS[6], 0, 0, 'WITHSCORES')
    if not head[1] then break end
    redis.call('ZREM', KEYS[6], head[1])
    local environment, worker, version = string.match(head[1], '^([^@]+)@([^\n]+)\n(.+)$')
    if avoided(worker) then
      kept[#kept + 1] = head
    elseif redis.call('ZSCORE', KEYS[5], worker)
      and redis.call('ZREM', ARGV[8] .. 'idle:' .. version, environment .. '@' .. worker) == 1
      and redis.call('HDEL', ARGV[8] .. 'envs:' .. worker, environment) == 1 then
      victim, from = environment, worker
      break
    end
  end
  for _, entry in ipairs(kept) do
    redis.call('ZADD', KEYS[6], entry[2], entry[1])
  end
  return victim, from
end

local code, victim = 'w', ''
local token = newest_idle()
if not token then
  code = 'c'
  local worker = most_free()
  if worker then
    redis.call('ZINCRBY', KEYS[5], -1, worker)
  else
    victim, worker = evict()
    if not worker then
      redis.call('HSET', KEYS[1], 'waiting', '1')
      recall()
      return {'n'}
    end
  end
  local environment = epoch .. '-' .. fence
  token = environment .. '@' .. worker
  redis.call('HSET', ARGV[8] .. 'envs:' .. worker, environment, ARGV[7])
end

local lease = token .. '#' .. epoch .. '.' .. fence
local sticky = 0
if s[9] ~= '1' and victim == '' and (limit - used - 1) * 4 >= limit then
  sticky = 1
end
if pool == 'u' then
  redis.call('HSET', KEYS[3], lease, ARGV[7])
  running = running + 1
else
  redis.call('HSET', KEYS[4], lease, ARGV[7])
end
if sticky == 1 then
  redis.call('HSET', KEYS[1], 'fence', fence, ARGV[3], run + 1, 'running', running, 'sticky', ARGV[11])
else
  redis.call('HSET', KEYS[1], 'fence', fence, ARGV[3], run + 1, 'running', running)
end
if code == 'w' then
  return {'w', lease, pool, sticky}
end
return {'c', lease, pool, sticky, victim}

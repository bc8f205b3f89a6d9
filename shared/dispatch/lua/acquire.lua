-- Take leases on execution environments: one atomic answer to "where may these invocations of one version run". What callers
-- ask for in the same instant is asked for together: the counts are then read and written once.
--
-- KEYS  1 state           hash    counters, limits, epochs and revisions of the cell (fields: see keys.py)
--       2 idle:<version>  zset    "<environment>@<worker>" -> last use, Unix ms; idle environments of this version
--       3 leases:<h>:u    hash    lease -> "<function>\n<version>"; the holder's leases counted in the account's pool
--       4 leases:<h>:r    hash    the same, counted in a function's reserved concurrency
--       5 free            zset    worker -> free slots
--       6 lru             zset    "<function>\n<version>" -> no idle environment of it was last used before, Unix ms
-- ARGV  1 rev field   2 res field   3 run field (each <kind>:<function>)
--       4 revision of the caller's target   5 reserved concurrency, "" for none   6 account limit if none is stored
--       7 "<function>\n<version>"   8 key prefix
--       9 epoch field (epoch:<run id of this Redis>)   10 workers to avoid: "" or ",a,b,"   11 now, Unix ms   12 leases wanted
-- Reply {"g", pool, sticky, lease, kind, lease, kind, ...}   one lease or more, perhaps fewer than wanted;
--         lease = "<environment>@<worker>#<epoch>.<fence>", pool "u" or "r", kind "w" warm or "c<victim>" cold, victim: the
--         environment to stop first at that worker, or ""
--       {"t", pool, retry}   a limit is reached; retry 1: holders were asked to give back what they do not use
--       {"s", revision}      the caller's target is older than `revision`
--       {"n"}                no worker has room; the next release publishes "room"
--       {"b", epoch}         being rebuilt (epoch "" when nobody began yet)
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

local fence = tonumber(s[2] or '0')
local avoid = ARGV[10]
local wanted = math.min(tonumber(ARGV[12]), limit - used)

local function avoided(worker)
  return avoid ~= '' and string.find(avoid, ',' .. worker .. ',', 1, true)
end

local reply = {'g', pool, 0}
local fields = {}
local granted = 0

local function grant(token, kind)
  fence = fence + 1
  granted = granted + 1
  local lease = token .. '#' .. epoch .. '.' .. fence
  fields[#fields + 1] = lease
  fields[#fields + 1] = ARGV[7]
  reply[#reply + 1] = lease
  reply[#reply + 1] = kind
end

if avoid == '' then
  local popped = redis.call('ZPOPMAX', KEYS[2], wanted)
  for i = 1, #popped, 2 do
    grant(popped[i], 'w')
  end
else
  -- The newest idle environment of this version at no worker to avoid.
  local function newest_not_avoided()
    local skipped, found = {}, nil
    for _ = 1, 64 do
      local popped = redis.call('ZPOPMAX', KEYS[2])
      if not popped[1] then break end
      if not avoided(string.match(popped[1], '@(.+)$')) then
        found = popped[1]
        break
      end
      skipped[#skipped + 1] = popped
    end
    for _, entry in ipairs(skipped) do
      redis.call('ZADD', KEYS[2], entry[2], entry[1])
    end
    return found
  end

  while granted < wanted do
    local token = newest_not_avoided()
    if not token then break end
    grant(token, 'w')
  end
end
local contended = s[9] == '1'
if granted < wanted then
  local function most_free()
    local workers = redis.call('ZREVRANGE', KEYS[5], 0, avoid == '' and 0 or 15, 'WITHSCORES')
    for i = 1, #workers, 2 do
      if tonumber(workers[i + 1]) > 0 and not avoided(workers[i]) then
        return workers[i]
      end
    end
  end

  -- The least recently used idle environment of any version; its slot stays taken, by the new one. `lru` holds a lower bound for
  -- each version, corrected when it is looked at. A draining worker has no place in `free` and gets nothing new.
  local function evict()
    local aside, environment, worker = {}, nil, nil
    for _ = 1, 256 do
      local head = redis.call('ZRANGE', KEYS[6], 0, 1, 'WITHSCORES')
      if not head[1] then break end
      local owner, version = string.match(head[1], '^(.-)\n(.+)$')
      local key = ARGV[8] .. 'idle:' .. version
      local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
      if not oldest[1] then
        redis.call('ZREM', KEYS[6], head[1])
        if (redis.call('HGET', KEYS[1], 'run:' .. owner) or '0') ~= '0' then
          aside[#aside + 1] = {ARGV[11], head[1]}
        end
      elseif head[4] and tonumber(oldest[2]) > tonumber(head[4]) then
        redis.call('ZADD', KEYS[6], oldest[2], head[1])
      else
        environment, worker = string.match(oldest[1], '^([^@]+)@(.+)$')
        if avoided(worker) then
          redis.call('ZREM', KEYS[6], head[1])
          aside[#aside + 1] = {head[2], head[1]}
          worker = nil
        else
          redis.call('ZREM', key, oldest[1])
          if redis.call('ZSCORE', KEYS[5], worker) and redis.call('HDEL', ARGV[8] .. 'envs:' .. worker, environment) == 1 then
            break
          end
          worker = nil
        end
      end
    end
    for _, entry in ipairs(aside) do
      redis.call('ZADD', KEYS[6], entry[1], entry[2])
    end
    return environment, worker
  end

  while granted < wanted do
    local victim, worker = '', most_free()
    if worker then
      redis.call('ZINCRBY', KEYS[5], -1, worker)
    else
      victim, worker = evict()
      contended = true
      if not worker then
        redis.call('HSET', KEYS[1], 'waiting', '1')
        recall()
        if granted == 0 then
          return {'n'}
        end
        break
      end
    end
    local environment = epoch .. '-' .. (fence + 1)
    redis.call('HSET', ARGV[8] .. 'envs:' .. worker, environment, ARGV[7])
    redis.call('ZADD', KEYS[6], 'NX', ARGV[11], ARGV[7])
    grant(environment .. '@' .. worker, 'c' .. victim)
  end
end

redis.call('HSET', pool == 'u' and KEYS[3] or KEYS[4], unpack(fields))
if pool == 'u' then
  running = running + granted
end
if not contended and (limit - used - granted) * 4 >= limit then
  reply[3] = 1
  redis.call('HSET', KEYS[1], 'fence', fence, ARGV[3], run + granted, 'running', running, 'sticky', ARGV[11])
else
  redis.call('HSET', KEYS[1], 'fence', fence, ARGV[3], run + granted, 'running', running)
end
return reply

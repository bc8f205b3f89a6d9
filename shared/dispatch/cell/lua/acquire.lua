-- Take leases on execution environments: one atomic answer to "where may these invocations of one version run". What callers
-- ask for in the same instant is asked for together: the counts are then read and written once.
--
-- KEYS  1 state           hash    counters, limits, epochs and revisions of the cell (fields: see keys.py)
--       2 idle:<version>  zset    "<environment>@<worker>" -> last use, Unix ms; idle environments of this version
--       3 leases:<h>:u    hash    lease -> "<function>\n<version>"; the holder's leases counted in the account's pool
--       4 leases:<h>:r    hash    the same, counted in a function's reserved concurrency
--       5 lru             zset    "<function>\n<version>" -> no idle environment of it was last used before, Unix ms
-- ARGV  1 rev field   2 res field   3 run field (each <kind>:<function>; a function is named as keys.py says)
--       4 revision of the caller's target   5 reserved concurrency, "" for none   6 account limit if none is stored
--       7 "<function>\n<version>"   8 key prefix   9 prov field (prov:<version>)
--       10 MB of the version's environments   11 epoch field (epoch:<run id of this Redis>)
--       12 workers to avoid: "" or ",a,b,"   13 now, Unix ms   14 leases wanted
-- Reply {"g", pool, sticky, lease, kind, lease, kind, ...}   one lease or more, perhaps fewer than wanted;
--         lease = "<environment>@<worker>#<epoch>.<fence>", pool "u" or "r"; kind "w" warm, "c<victims>" cold, victims: what
--         to stop first at that worker, "" or "a,b", or "p" provisioned: in the pool "p", counted with its environment
--       {"t", pool, retry}   a limit is reached; retry 1: holders were asked to give back what they do not use
--       {"s", revision}      the caller's target is older than `revision`
--       {"n"}                no worker has room; the next release publishes "room"
--       {"b", epoch}         being rebuilt (epoch "" when nobody began yet)
local region = string.match(ARGV[1], '^rev:([^/]+)')
local account = 'running:' .. region
local s = redis.call(
  'HMGET', KEYS[1], ARGV[11], 'fence', account, 'limit:' .. region, ARGV[1], ARGV[2], ARGV[3], 'sticky', 'waiting', ARGV[9]
)
local epoch = s[1]
if not epoch then
  local coming = redis.call('HGET', KEYS[1], 'next')
  if not coming then
    redis.call('PUBLISH', ARGV[8] .. 'events', 'wiped')
  end
  return {'b', coming or ''}
end

local reserved = s[6] or ''
local running = tonumber(s[3] or '0')
if s[5] ~= ARGV[4] then
  if s[5] and tonumber(s[5]) > tonumber(ARGV[4]) then
    return {'s', s[5]}
  end
  -- include reserve
  running = running + move_provisioned(ARGV[8], string.sub(ARGV[1], 5), reserved, ARGV[5])
  reserved = ARGV[5]
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
  if reserved == '' then
    redis.call('HDEL', KEYS[1], ARGV[2])
  else
    redis.call('HSET', KEYS[1], ARGV[2], reserved)
  end
end

local now = ARGV[13]
local run = tonumber(s[7] or '0')
local pool, used, limit = 'u', running, tonumber(s[4] or ARGV[6])
if reserved ~= '' then
  pool, used, limit = 'r', run, tonumber(reserved)
end

-- `sticky` holds when a holder was last allowed to keep a lease it does not use; negative: recalled at that time.
local function recall()
  local granted = tonumber(s[8] or '0')
  if granted > tonumber(now) - 5000 then
    redis.call('HSET', KEYS[1], 'sticky', '-' .. now)
    redis.call('PUBLISH', ARGV[8] .. 'events', 'recall')
    return 1
  end
  return (granted < 0 and -granted > tonumber(now) - 20) and 1 or 0
end

local fence = tonumber(s[2] or '0')
local avoid = ARGV[12]
local wanted = tonumber(ARGV[14])

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

local paused, short = nil, now - 10000

-- The newest environments in `key` at no worker to avoid.
local function grant_warm(key, most, kind)
  if avoid == '' then
    local popped = redis.call('ZPOPMAX', key, most)
    for i = 1, #popped, 2 do
      if popped[i + 1] - short < 0 and kind == 'w' then
        paused = paused or {}
        paused[#paused + 1] = popped[i + 1]
      end
      grant(popped[i], kind)
    end
    return
  end
  local skipped, left = {}, most
  for _ = 1, 64 do
    if left == 0 then break end
    local popped = redis.call('ZPOPMAX', key)
    if not popped[1] then break end
    if avoided(string.match(popped[1], '@(.+)$')) then
      skipped[#skipped + 1] = popped
    else
      grant(popped[1], kind)
      left = left - 1
    end
  end
  for _, entry in ipairs(skipped) do
    redis.call('ZADD', key, entry[2], entry[1])
  end
end

-- Provisioned environments come first. They are counted already; only while more is counted than may be (they became ready, or
-- the limit was lowered, while others ran) what really runs has to be found out.
local provisioned = 0
if s[10] then
  local most = wanted
  if used > limit then
    local runs = used
    for _, owner in ipairs(redis.call('SMEMBERS', ARGV[8] .. 'provisioned')) do
      local fn, version = string.match(owner, '^(.-)\n(.+)$')
      local same
      if pool == 'r' then
        same = 'run:' .. fn == ARGV[3]
      else
        same = string.match(fn, '^[^/]+') == region and (redis.call('HGET', KEYS[1], 'res:' .. fn) or '') == ''
      end
      if same then
        runs = runs - redis.call('ZCARD', ARGV[8] .. 'ready:' .. version)
      end
    end
    most = math.min(wanted, limit - runs)
  end
  if most > 0 then
    grant_warm(ARGV[8] .. 'ready:' .. string.sub(ARGV[9], 6), most, 'p')
    provisioned = granted
    if provisioned > 0 then
      redis.call('HSET', string.sub(KEYS[3], 1, -2) .. 'p', unpack(fields))
      fields = {}
    end
  end
end

if granted == wanted or (granted > 0 and used >= limit) then
  redis.call('HSET', KEYS[1], 'fence', fence)
  return reply
end
if used >= limit then
  return {'t', pool, limit > 0 and recall() or 0}
end

wanted = granted + math.min(wanted - granted, limit - used)
grant_warm(KEYS[2], wanted - granted, 'w')
local contended = s[9] == '1'
if granted < wanted then
  local lru, prefix, needed = KEYS[5], ARGV[8], tonumber(ARGV[10])
  if run == 0 and granted == 0 then
    local pauses = prefix .. 'pauses:' .. string.sub(ARGV[1], 5)
    local ended = redis.call('HGET', pauses, 'ended')
    if ended then
      redis.call('HDEL', pauses, 'ended')
      paused = {ended}
    end
  end
  -- include room
  -- include place
  while granted < wanted do
    local worker, victims = place(string.sub(ARGV[1], 5))
    contended = contended or victims ~= ''
    if not worker then
      redis.call('HSET', KEYS[1], 'waiting', '1')
      recall()
      if granted == 0 then
        return {'n'}
      end
      break
    end
    local environment = epoch .. '-' .. (fence + 1)
    add_environment(worker, environment, ARGV[7], needed)
    redis.call('ZADD', lru, 'NX', now, ARGV[7])
    grant(environment .. '@' .. worker, 'c' .. victims)
  end
end

if paused then
  -- include pause
  for _, since in ipairs(paused) do
    count_pause(ARGV[8], string.sub(ARGV[1], 5), now - since)
  end
end
if fields[1] then
  redis.call('HSET', pool == 'u' and KEYS[3] or KEYS[4], unpack(fields))
end
local counted = granted - provisioned
if pool == 'u' then
  running = running + counted
end
if not contended and (limit - used - counted) * 4 >= limit then
  reply[3] = 1
  redis.call('HSET', KEYS[1], 'fence', fence, ARGV[3], run + counted, account, running, 'sticky', now)
else
  redis.call('HSET', KEYS[1], 'fence', fence, ARGV[3], run + counted, account, running)
end
return reply

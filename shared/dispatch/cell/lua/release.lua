-- Give leases of one version back, once: a second call, or one for a lease that was reaped, changes no count.
--
-- KEYS  1 state   2 idle:<version>   3 leases:<h>:<pool as acquired>   4 leases:<h>:<the other pool>
-- ARGV  1 run field   2 "<function>\n<version>"   3 key prefix   4 pool as acquired, "u" or "r"; "p": provisioned environments,
--         counted with themselves and not with their leases; then 2 is ready:<version>, and 4 the same as 3
--       5 outcome: "i" the environments are idle, "g" they are gone, "b" they may be busy still (not leased for a second)
--       6 now, Unix ms   7 and on: leases
-- Reply leases given back. One that does not exist is remembered for a minute: a worker that reports it as running, having
--       looked before it ended, must not bring it back.
local function not_held(lease)
  if redis.call('HDEL', KEYS[4], lease) == 1 then
    -- Counted again after a rebuild, in the pool that the function had then.
    return ARGV[4] == 'u' and 'r' or 'u'
  end
  redis.call('SET', ARGV[3] .. 'released:' .. lease, '1', 'EX', 60)
end

local tokens, account, released = {}, 0, 0
local function token_of(lease)
  return string.sub(lease, 1, string.find(lease, '#', 1, true) - 1)
end
local function taken(lease, pool)
  released = released + 1
  account = account + (pool == 'u' and 1 or 0)
  tokens[released] = token_of(lease)
end

if #ARGV == 7 then
  local pool = redis.call('HDEL', KEYS[3], ARGV[7]) == 1 and ARGV[4] or not_held(ARGV[7])
  if not pool then
    return 0
  end
  taken(ARGV[7], pool)
else
  local leases = {unpack(ARGV, 7)}
  local held = redis.call('HMGET', KEYS[3], unpack(leases))
  redis.call('HDEL', KEYS[3], unpack(leases))
  for i, lease in ipairs(leases) do
    local pool = held[i] and ARGV[4] or not_held(lease)
    if pool then
      taken(lease, pool)
    end
  end
  if released == 0 then
    return 0
  end
end

local pool_field = 'running:' .. string.match(ARGV[1], '^run:([^/]+)')
local s = redis.call('HMGET', KEYS[1], pool_field, 'waiting', ARGV[1])
local running = math.max(0, tonumber(s[1] or '0') - account)
local run = math.max(0, tonumber(s[3] or '0') - released)
if ARGV[4] == 'p' then
  if s[2] == '1' then
    redis.call('HSET', KEYS[1], 'waiting', '0')
  end
elseif s[2] == '1' then
  redis.call('HSET', KEYS[1], pool_field, running, ARGV[1], run, 'waiting', '0')
else
  redis.call('HSET', KEYS[1], pool_field, running, ARGV[1], run)
end

if ARGV[4] == 'p' and ARGV[5] ~= 'b' then
  local prefix = ARGV[3]
  -- include uncount
  -- include room
  local key = ARGV[3] .. 'provisioned:' .. string.match(ARGV[2], '\n(.+)$')
  for i = 1, released do
    local environment, worker = string.match(tokens[i], '^([^@]+)@(.+)$')
    if ARGV[5] == 'i' and redis.call('HGET', key, tokens[i]) == 'r' and room_of(worker) then
      redis.call('ZADD', KEYS[2], ARGV[6], tokens[i])
    else
      -- Gone, to be stopped, or on a worker that is about to end.
      uncount_provisioned(ARGV[3], ARGV[2], tokens[i])
      drop_environment(worker, environment)
    end
  end
elseif ARGV[5] == 'i' then
  if released == 1 then
    redis.call('ZADD', KEYS[2], ARGV[6], tokens[1])
  else
    local members = {}
    for i = 1, released do
      members[2 * i - 1], members[2 * i] = ARGV[6], tokens[i]
    end
    redis.call('ZADD', KEYS[2], unpack(members))
  end
elseif ARGV[5] == 'g' then
  local prefix = ARGV[3]
  -- include room
  for i = 1, released do
    local environment, worker = string.match(tokens[i], '^([^@]+)@(.+)$')
    drop_environment(worker, environment)
  end
else
  for i = 1, released do
    redis.call('ZADD', ARGV[3] .. 'parked', string.format('%.0f', ARGV[6] + 1000), tokens[i] .. '\n' .. ARGV[2])
  end
end
if s[2] == '1' then
  redis.call('PUBLISH', ARGV[3] .. 'events', 'room')
end
return released

-- Bring parked environments back whose time has come, and take out those that were idle for too long: they cannot be
-- leased from this moment on, so they may be stopped.
--
-- KEYS  1 lru   2 parked   zset "<environment>@<worker>\n<function>\n<version>" -> due, Unix ms   3 leader   4 state
-- ARGV  1 now, Unix ms   2 expire what was last used before, Unix ms   3 at most so many   4 key prefix   5 leadership
-- Reply "<environment>@<worker>" of each one taken out
if redis.call('GET', KEYS[3]) ~= ARGV[5] then
  return {}
end
local prefix = ARGV[4]
-- include room
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])) do
  redis.call('ZREM', KEYS[2], member)
  local environment, worker, owner, version = string.match(member, '^([^@]+)@([^\n]+)\n(.-)\n(.+)$')
  if redis.call('HEXISTS', prefix .. 'envs:' .. worker, environment) == 1 then
    local token = environment .. '@' .. worker
    local provisioned = redis.call('HGET', prefix .. 'provisioned:' .. version, token)
    if provisioned == 'r' then
      redis.call('ZADD', prefix .. 'ready:' .. version, ARGV[1], token)
    elseif not provisioned then
      redis.call('ZADD', prefix .. 'idle:' .. version, ARGV[1], token)
      redis.call('ZADD', KEYS[1], 'NX', ARGV[1], owner .. '\n' .. version)
    end
  end
end
local expired = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[2], 'LIMIT', 0, ARGV[3])) do
  local owner, version = string.match(member, '^(.-)\n(.+)$')
  local key = prefix .. 'idle:' .. version
  for _, token in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', '(' .. ARGV[2], 'LIMIT', 0, ARGV[3] - #expired)) do
    local environment, worker = string.match(token, '^([^@]+)@(.+)$')
    redis.call('ZREM', key, token)
    if drop_environment(worker, environment) then
      expired[#expired + 1] = token
    end
  end
  local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if oldest[1] then
    redis.call('ZADD', KEYS[1], oldest[2], member)
  elseif (redis.call('HGET', KEYS[4], 'run:' .. owner) or '0') == '0' then
    redis.call('ZREM', KEYS[1], member)
    redis.call('HDEL', KEYS[4], 'run:' .. owner)
  else
    redis.call('ZADD', KEYS[1], ARGV[1], member)
  end
  if #expired >= tonumber(ARGV[3]) then break end
end
return expired

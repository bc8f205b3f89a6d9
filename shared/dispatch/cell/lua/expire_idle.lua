-- Bring parked environments back whose time has come, and take out those that were idle for longer than their function's are
-- kept: they cannot be leased from this moment on, so they may be stopped. Looks at some versions in each call.
--
-- KEYS  1 lru   2 parked   zset "<environment>@<worker>\n<function>\n<version>" -> due, Unix ms   3 leader   4 state
-- ARGV  1 now, Unix ms   2 ms that any is kept   3 ms that those are kept of whose function nothing is learnt
--       4 take out at most so many   5 key prefix   6 leadership   7 versions to leave out, of those not used for (2), oldest
--       use first   8 versions to look at
-- Reply {versions to leave out in the next call, "<environment>@<worker>" of each one taken out, ...}
if redis.call('GET', KEYS[3]) ~= ARGV[6] then
  return {0}
end
local now, most, prefix = tonumber(ARGV[1]), tonumber(ARGV[4]), ARGV[5]
-- include room
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, most)) do
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

local function text(ms)
  return string.format('%.0f', ms)
end
local unused = now - tonumber(ARGV[2])
local members =
  redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. text(unused), 'LIMIT', ARGV[7], ARGV[8])
local expired, stay = {}, 0
for _, member in ipairs(members) do
  local owner, version = string.match(member, '^(.-)\n(.+)$')
  local key, pauses = prefix .. 'idle:' .. version, prefix .. 'pauses:' .. owner
  local before = '(' .. text(now - (redis.call('HGET', pauses, 'keep') or ARGV[3]))
  local last
  for _, token in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', before, 'LIMIT', 0, most - #expired)) do
    local environment, worker = string.match(token, '^([^@]+)@(.+)$')
    last = redis.call('ZSCORE', key, token)
    redis.call('ZREM', key, token)
    if drop_environment(worker, environment) then
      expired[#expired + 1] = token
    end
  end
  local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if oldest[1] then
    redis.call('ZADD', KEYS[1], oldest[2], member)
    if tonumber(oldest[2]) < unused then
      stay = stay + 1
    end
  elseif (redis.call('HGET', KEYS[4], 'run:' .. owner) or '0') == '0' then
    redis.call('ZREM', KEYS[1], member)
    redis.call('HDEL', KEYS[4], 'run:' .. owner)
    if last then
      -- Should it turn out to have been too early, it is learnt how much.
      redis.call('HSET', pauses, 'ended', last)
      redis.call('EXPIRE', pauses, 604800)
    end
  else
    redis.call('ZADD', KEYS[1], ARGV[1], member)
  end
  if #expired >= most then break end
end
if #members == tonumber(ARGV[8]) or #expired >= most then
  return {ARGV[7] + stay, unpack(expired)}
end
return {0, unpack(expired)}

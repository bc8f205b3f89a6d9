-- What must not be sent twice.
local function remembered(key)
  local until_ms = redis.call('ZSCORE', SENT, key)
  return until_ms and tonumber(until_ms) > now and redis.call('HGET', SENT_IDS, key)
end

-- For each one that comes, up to `count` whose time is over go.
local function remember(key, answer, ms, count)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', SENT, '-inf', text(now), 'LIMIT', 0, count)) do
    redis.call('ZREM', SENT, old)
    redis.call('HDEL', SENT_IDS, old)
  end
  redis.call('ZADD', SENT, text(now + ms), key)
  redis.call('HSET', SENT_IDS, key, answer)
end

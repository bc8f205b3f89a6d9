-- What must not be sent twice.
local function is_remembered(key)
  local until_ms = redis.call('ZSCORE', SENT, key)
  return until_ms and tonumber(until_ms) > now
end

local function remembered(key)
  return is_remembered(key) and redis.call('HGET', SENT_IDS, key)
end

-- Up to `count` whose time is over go.
local function forget(count)
  local old = redis.call('ZRANGEBYSCORE', SENT, '-inf', text(now), 'LIMIT', 0, count)
  if #old > 0 then
    redis.call('ZREM', SENT, unpack(old))
    redis.call('HDEL', SENT_IDS, unpack(old))
  end
end

-- answer: nil where it need not be known.
local function remember(key, answer, ms)
  forget(2)
  redis.call('ZADD', SENT, text(now + ms), key)
  if answer then
    redis.call('HSET', SENT_IDS, key, answer)
  end
end

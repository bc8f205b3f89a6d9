-- Where a new environment may go. Around it: prefix, free and lru (keys), now (text), avoid, avoided(worker).
local function most_free()
  -- One more than are avoided, which has a comma before each and one at its end.
  local _, commas = string.gsub(avoid, ',', '')
  local workers = redis.call('ZREVRANGE', free, 0, math.max(0, commas - 1), 'WITHSCORES')
  for i = 1, #workers, 2 do
    if tonumber(workers[i + 1]) > 0 and not avoided(workers[i]) then
      return workers[i]
    end
  end
end

-- The least recently used idle environment of any version; its slot stays taken, by the new one. `lru` holds a lower bound for
-- each version, corrected when it is looked at. A draining worker has no place in `free` and gets nothing new. Provisioned
-- environments are not among the idle ones, so none is evicted.
local function evict()
  local aside, environment, worker = {}, nil, nil
  for _ = 1, 256 do
    local head = redis.call('ZRANGE', lru, 0, 1, 'WITHSCORES')
    if not head[1] then break end
    local owner, version = string.match(head[1], '^(.-)\n(.+)$')
    local key = prefix .. 'idle:' .. version
    local oldest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if not oldest[1] then
      redis.call('ZREM', lru, head[1])
      if (redis.call('HGET', prefix .. 'state', 'run:' .. owner) or '0') ~= '0' then
        aside[#aside + 1] = {now, head[1]}
      end
    elseif head[4] and tonumber(oldest[2]) > tonumber(head[4]) then
      redis.call('ZADD', lru, oldest[2], head[1])
    else
      environment, worker = string.match(oldest[1], '^([^@]+)@(.+)$')
      if avoided(worker) then
        redis.call('ZREM', lru, head[1])
        aside[#aside + 1] = {head[2], head[1]}
        worker = nil
      else
        redis.call('ZREM', key, oldest[1])
        if redis.call('ZSCORE', free, worker) and redis.call('HDEL', prefix .. 'envs:' .. worker, environment) == 1 then
          break
        end
        worker = nil
      end
    end
  end
  for _, entry in ipairs(aside) do
    redis.call('ZADD', lru, entry[1], entry[2])
  end
  return environment, worker
end

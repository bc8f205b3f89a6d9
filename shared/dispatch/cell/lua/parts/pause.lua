-- An environment of `fn` is used again after a pause, or the first one is started after that: counted, unless it was short
-- (the buckets: shared/domain/pauses.py), and left to the scheduler to learn from. Forgotten after a week without pauses.
local function count_pause(prefix, fn, pause_ms)
  if pause_ms < 10000 then
    return
  end
  local key = prefix .. 'pauses:' .. fn
  redis.call('HINCRBY', key, math.min(23, math.floor(2 * math.log(pause_ms / 10000) / math.log(2))), 1)
  redis.call('EXPIRE', key, 604800)
  redis.call('SADD', prefix .. 'paused', fn)
end

#!lua
-- Be the one that moves the messages of a queue, for a while.
-- KEYS[1]  sorted set, 1 key in all: queues that messages are moved out of, as ARNs, by when another may take it over (Unix ms)
-- ARGV[1] ARN   2 for how long, ms   3 "1": it is ours already
-- Reply 1; 0 when it is another's, or nobody's any more
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local until_ms = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not until_ms or (ARGV[3] ~= '1' and tonumber(until_ms) > now) then
  return 0
end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
return 1

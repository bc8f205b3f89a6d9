-- A worker says that it lives. An unknown worker is not taken in: it has to report first.
--
-- KEYS  1 state   2 alive:workers   zset worker -> last heartbeat, Unix ms of this Redis
--       3 workers   hash worker -> its record (worker_record.py)
--       4 envs:<w>   hash environment -> "<function>\n<version>"
-- ARGV  1 epoch field   2 worker
-- Reply {open epoch or "", epoch being rebuilt or "", 1 if registered, environments known of it}
if redis.call('HEXISTS', KEYS[3], ARGV[2]) == 1 then
  local t = redis.call('TIME')
  redis.call('ZADD', KEYS[2], string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000)), ARGV[2])
  return {redis.call('HGET', KEYS[1], ARGV[1]) or '', redis.call('HGET', KEYS[1], 'next') or '', 1, redis.call('HLEN', KEYS[4])}
end
return {redis.call('HGET', KEYS[1], ARGV[1]) or '', redis.call('HGET', KEYS[1], 'next') or '', 0, 0}

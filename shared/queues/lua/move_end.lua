#!lua flags=allow-oom
-- A move task has ended, or is to end.
-- KEYS[1]  hash of the queue's move tasks, 1 in all (move_start.lua)
-- ARGV[1] task id   2 its status from now on: CANCELLING is to end, all others have   3 failure: an error code, or ""
-- Reply how many messages it has moved; -1 when it does not run (any more)
if redis.call('HGET', KEYS[1], 'running') ~= ARGV[1] then
  return -1
end
redis.call('HSET', KEYS[1], ARGV[1] .. ' status', ARGV[2])
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1] .. ' failure', ARGV[3])
end
if ARGV[2] ~= 'CANCELLING' then
  redis.call('HDEL', KEYS[1], 'running')
end
return tonumber(redis.call('HGET', KEYS[1], ARGV[1] .. ' moved') or 0)

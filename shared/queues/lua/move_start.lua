#!lua
-- Begin to move messages out of a queue, unless that is being done. Of the tasks that ended the latest are remembered.
-- KEYS[1]  hash of the queue's move tasks, 1 in all: running -> task id; tasks -> ids, the latest first, each with a blank behind;
--          "<task id>" -> the task, JSON; "<task id> status", "<task id> moved", "<task id> failure"
-- ARGV[1] task id   2 the task, JSON   3 how many are remembered
-- Reply 1; 0 when one runs already
if redis.call('HGET', KEYS[1], 'running') then
  return 0
end
local known, count = ARGV[1] .. ' ', 1
for id in string.gmatch(redis.call('HGET', KEYS[1], 'tasks') or '', '(%S+) ') do
  if count < tonumber(ARGV[3]) then
    known, count = known .. id .. ' ', count + 1
  else
    redis.call('HDEL', KEYS[1], id, id .. ' status', id .. ' moved', id .. ' failure')
  end
end
redis.call('HSET', KEYS[1], 'tasks', known, 'running', ARGV[1], ARGV[1], ARGV[2], ARGV[1] .. ' status', 'RUNNING')
return 1

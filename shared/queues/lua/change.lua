#!lua flags=allow-oom
-- Change when messages of a standard queue that are in flight are visible again.
-- KEYS parts/start.lua, standard: 10
-- ARGV[2] on, of each: entry, the count of receives that its handle is of, in how many ms it is to be visible
-- Reply {"s", number, ...}: of each 1 done, 2 (standard) received again since: left alone, 3 (FIFO) visible or received again,
--         4 no such message, 5 (standard) visible again and stays so, 6 more than 12 hours after it was received: left alone
--       {"u"} no settings: install them; {"d"} the queue was deleted
-- include start
local s = redis.call('HMGET', SETTINGS, 'revision', 'deleted')
if not s[1] then
  return {s[2] and 'd' or 'u'}
end
-- include change
local reply = {'s'}
for at = 2, #ARGV, 3 do
  local id, ms = ARGV[at], tonumber(ARGV[at + 2])
  local verdict = judge(id, ARGV[at + 1], ms)
  if verdict == 1 then
    redis.call('ZADD', FLIGHT, text(now + ms), id)
    tell(ms == 0 and 1 or 0, now + ms)
  end
  reply[#reply + 1] = verdict == 3 and 5 or verdict
end
return reply

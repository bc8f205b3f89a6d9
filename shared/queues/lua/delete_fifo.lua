#!lua flags=allow-oom
-- Delete messages of a FIFO queue by their receipt handles, as long as they are in flight.
-- KEYS parts/start.lua, FIFO: 10
-- ARGV[2] on, of each: entry, the count of receives that its handle is of
-- Reply {"s", number, ...}: of each 1 deleted or gone before, 2 received again since: left alone, 3 (FIFO) visible again: left
--         alone
--       {"u"} no settings: install them; {"d"} the queue was deleted
-- include start
-- include fifo
local s = redis.call('HMGET', SETTINGS, 'revision', 'deleted')
if not s[1] then
  return {s[2] and 'd' or 'u'}
end
local reply, ready = {'s'}, 0
for at = 2, #ARGV, 2 do
  local id = ARGV[at]
  local count, group = string.match(redis.call('HGET', RECEIVED, id) or '', '^(%d+)|%d+|%d+|(.*)$')
  if not count then
    reply[#reply + 1] = 1
  elseif count ~= ARGV[at + 1] or tonumber(redis.call('ZSCORE', FLIGHT, id) or 0) <= now then
    reply[#reply + 1] = 3
  else
    if drop(id, group) then
      ready = ready + 1
    end
    reply[#reply + 1] = 1
  end
end
tell(ready)
return reply

#!lua flags=allow-oom
-- Delete messages of a standard queue by their receipt handles.
-- KEYS parts/start.lua, standard: 10
-- ARGV[2] on, of each: entry, the count of receives that its handle is of
-- Reply {"s", number, ...}: of each 1 deleted or gone before, 2 received again since: left alone, 3 (FIFO) visible again: left
--         alone
--       {"u"} no settings: install them; {"d"} the queue was deleted
-- include start
-- include standard
local s = redis.call('HMGET', SETTINGS, 'revision', 'deleted')
if not s[1] then
  return {s[2] and 'd' or 'u'}
end
local ids, counts, reply, gone = {}, {}, {'s'}, {}
for at = 2, #ARGV, 2 do
  ids[#ids + 1], counts[#counts + 1] = ARGV[at], ARGV[at + 1]
end
for at, known in ipairs(#ids > 0 and redis.call('HMGET', RECEIVED, unpack(ids)) or {}) do
  if known and string.match(known, '^%d+') ~= counts[at] then
    reply[at + 1] = 2
  else
    if known then
      gone[#gone + 1] = ids[at]
    end
    reply[at + 1] = 1
  end
end
drop(gone)
return reply

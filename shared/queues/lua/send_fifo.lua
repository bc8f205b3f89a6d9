#!lua
-- Append messages to a FIFO queue.
-- KEYS parts/start.lua, FIFO: 10
-- ARGV[2] "1": also to a queue that nobody knows (the message is there once the queue is made)   ARGV[3] count of messages
--       then of each: message id, body, attributes, MD5 of the body, size in bytes, delay in ms ("": the queue's), MD5 of
--       the delivery id, group, deduplication id, SHA-256 of the body, time of sending ("": now), count of further words,
--       further fields and values ("" for what is not there)
-- Reply {"s", answer, ...}: of each "<message id> <sequence number>" (of an earlier one, if it is a duplicate), or the number of
--         bytes that the queue takes, when it is longer
--       {"u"} no settings: install them; {"d"} the queue was deleted
--       {"i"} a message has no deduplication id and the queue does not take the content for one: nothing was sent
-- include start
-- include sent
-- include fifo
local s = redis.call('HMGET', SETTINGS, 'revision', 'deleted', 'bytes_max', 'delay_ms', 'content_based', 'by_group')
if not s[1] and ARGV[2] ~= '1' then
  return {s[2] and 'd' or 'u'}
end
local bytes_max, delay, content_based = tonumber(s[3] or math.huge), tonumber(s[4] or 0), s[5] == '1' or not s[1]
local count, at = tonumber(ARGV[3]), 4
if not content_based then
  for _ = 1, count do
    if ARGV[at + 8] == '' then
      return {'i'}
    end
    at = at + 12 + ARGV[at + 11]
  end
end
local reply, added = {'s'}, 0
at = 4
for number = 1, count do
  local message_id, delivery, group, sent_at = ARGV[at], ARGV[at + 6], ARGV[at + 7], ARGV[at + 10]
  local words = tonumber(ARGV[at + 11])
  local deduplication = ARGV[at + 8] ~= '' and ARGV[at + 8] or ARGV[at + 9]
  local key = s[6] == '1' and 'g\0' .. group .. '\0' .. deduplication or 'q\0' .. deduplication
  local earlier = delivery ~= '' and remembered('d' .. delivery)
  if not earlier and sent_at == '' then
    earlier = remembered(key)
  end
  if tonumber(ARGV[at + 4]) > bytes_max then
    reply[number + 1] = bytes_max
  elseif earlier then
    reply[number + 1] = earlier
  else
    local fields = {'message_id', message_id, 'body', ARGV[at + 1], 'attributes', ARGV[at + 2], 'md5_of_body', ARGV[at + 3],
      'sent_at_ms', sent_at == '' and text(now) or sent_at, 'group', group, 'deduplication', deduplication}
    for word = at + 12, at + 11 + words do
      fields[#fields + 1] = ARGV[word]
    end
    local id = redis.call('XADD', STREAM, stamp, unpack(fields))
    redis.call('ZADD', ORDER, 0, place(group, id))
    if not redis.call('ZSCORE', READY, group) then
      refresh(group)
    end
    if delay > 0 then
      redis.call('ZADD', DELAYED, text(now), id)
    end
    local answer = message_id .. ' ' .. sequence(id)
    if sent_at == '' then
      remember(key, answer, 300000)
    end
    if delivery ~= '' then
      remember('d' .. delivery, answer, 900000)
    end
    added = added + 1
    reply[number + 1] = answer
  end
  at = at + 12 + words
end
if delay > 0 then
  tell(0, now + delay)
else
  tell(added)
end
return reply

#!lua
-- Append messages to a FIFO queue.
-- KEYS parts/start.lua, FIFO: 10
-- ARGV[2] "1": also to a queue that nobody knows (the message is there once the queue is made)   ARGV[3] the messages,
--       parts/messages.lua   ARGV[4] on: the body of each
-- Reply {"s", answer, ...}: of each "<message id> <sequence number>" (of an earlier one, if it is a duplicate), or the number of
--         bytes that the queue takes, when it is longer
--       {"u"} no settings: install them; {"d"} the queue was deleted
--       {"i"} a message has no deduplication id and the queue does not take the content for one: nothing was sent
-- include start
-- include messages
-- include sent
-- include fifo
local s = redis.call('HMGET', SETTINGS, 'revision', 'deleted', 'bytes_max', 'delay_ms', 'content_based', 'by_group')
if not s[1] and ARGV[2] ~= '1' then
  return {s[2] and 'd' or 'u'}
end
local bytes_max, delay, content_based = tonumber(s[3] or math.huge), tonumber(s[4] or 0), s[5] == '1' or not s[1]
local messages = cmsgpack.unpack(ARGV[3])
if not content_based then
  for _, message in ipairs(messages) do
    if message[DEDUPLICATION] == '' then
      return {'i'}
    end
  end
end
local reply, added = {'s'}, 0
for number, message in ipairs(messages) do
  local message_id, delivery, group, sent_at = message[ID], message[DELIVERY], message[GROUP], message[SENT_AT]
  local deduplication = message[DEDUPLICATION] ~= '' and message[DEDUPLICATION] or message[SHA256]
  local key = s[6] == '1' and 'g\0' .. group .. '\0' .. deduplication or 'q\0' .. deduplication
  local earlier = delivery ~= '' and remembered('d' .. delivery)
  if not earlier and not sent_at then
    earlier = remembered(key)
  end
  if message[SIZE] > bytes_max then
    reply[number + 1] = bytes_max
  elseif earlier then
    reply[number + 1] = earlier
  else
    local fields = fields_of(message, ARGV[3 + number])
    for _, word in ipairs({'group', group, 'deduplication', deduplication}) do
      fields[#fields + 1] = word
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
    if not sent_at then
      remember(key, answer, 300000)
    end
    if delivery ~= '' then
      remember('d' .. delivery, answer, 900000)
    end
    added = added + 1
    reply[number + 1] = answer
  end
end
if delay > 0 then
  tell(0, now + delay)
else
  tell(added)
end
return reply

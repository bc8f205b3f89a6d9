#!lua
-- Append messages to a standard queue.
-- KEYS parts/start.lua, standard: 10
-- ARGV[2] "1": also to a queue that nobody knows (the message is there once the queue is made)   ARGV[3] count of messages
--       then of each: message id, body, attributes, MD5 of the body, size in bytes, delay in ms ("": the queue's), MD5 of
--       the delivery id, group, deduplication id, SHA-256 of the body, time of sending ("": now), count of further words,
--       further fields and values ("" for what is not there)
-- Reply {"s", answer, ...}: of each the message id (which is that of the delivery id, where it has one), or the number
--         of bytes that the queue takes, when it is longer
--       {"u"} no settings: install them; {"d"} the queue was deleted
-- include start
-- include sent
local LATER, MOVED = KEYS[9], KEYS[10]
local s = redis.call('HMGET', SETTINGS, 'revision', 'deleted', 'bytes_max', 'delay_ms')
if not s[1] and ARGV[2] ~= '1' then
  return {s[2] and 'd' or 'u'}
end
local bytes_max, queue_delay = tonumber(s[3] or math.huge), tonumber(s[4] or 0)
local reply, at, visible, due = {'s'}, 4, 0, nil
for number = 1, tonumber(ARGV[3]) do
  local message_id, delivery, sent_at, words = ARGV[at], ARGV[at + 6], ARGV[at + 10], tonumber(ARGV[at + 11])
  if tonumber(ARGV[at + 4]) > bytes_max then
    reply[number + 1] = bytes_max
  elseif delivery ~= '' and is_remembered('d' .. delivery) then
    reply[number + 1] = message_id
  else
    local fields = {'message_id', message_id, 'body', ARGV[at + 1], 'attributes', ARGV[at + 2], 'md5_of_body', ARGV[at + 3],
      'sent_at_ms', sent_at == '' and text(now) or sent_at}
    for word = at + 12, at + 11 + words do
      fields[#fields + 1] = ARGV[word]
    end
    if ARGV[at + 7] ~= '' then
      fields[#fields + 1] = 'group'
      fields[#fields + 1] = ARGV[at + 7]
    end
    local delay = tonumber(ARGV[at + 5]) or queue_delay
    if sent_at ~= '' then
      redis.call('ZADD', MOVED, sent_at, redis.call('XADD', STREAM, stamp, unpack(fields)))
      visible = visible + 1
    elseif delay > 0 then
      due = math.min(due or math.huge, now + delay)
      redis.call('ZADD', DELAYED, text(now + delay), redis.call('XADD', LATER, stamp, unpack(fields)))
    else
      redis.call('XADD', STREAM, stamp, unpack(fields))
      visible = visible + 1
    end
    if delivery ~= '' then
      remember('d' .. delivery, nil, 900000)
    end
    reply[number + 1] = message_id
  end
  at = at + 12 + words
end
tell(visible, due)
return reply

#!lua
-- Append messages to a standard queue.
-- KEYS parts/start.lua, standard: 10
-- ARGV[2] "1": also to a queue that nobody knows (the message is there once the queue is made)   ARGV[3] the messages,
--       parts/messages.lua   ARGV[4] on: the body of each
-- Reply {"s", answer, ...}: of each the message id (which is that of the delivery id, where it has one), or the number
--         of bytes that the queue takes, when it is longer
--       {"u"} no settings: install them; {"d"} the queue was deleted
-- include start
-- include messages
-- include sent
local LATER, MOVED = KEYS[9], KEYS[10]
local s = redis.call('HMGET', SETTINGS, 'revision', 'deleted', 'bytes_max', 'delay_ms')
if not s[1] and ARGV[2] ~= '1' then
  return {s[2] and 'd' or 'u'}
end
local bytes_max, queue_delay = tonumber(s[3] or math.huge), tonumber(s[4] or 0)
local reply, visible, due = {'s'}, 0, nil
for number, message in ipairs(cmsgpack.unpack(ARGV[3])) do
  local message_id, delivery, sent_at = message[ID], message[DELIVERY], message[SENT_AT]
  if message[SIZE] > bytes_max then
    reply[number + 1] = bytes_max
  elseif delivery ~= '' and is_remembered('d' .. delivery) then
    reply[number + 1] = message_id
  else
    local fields = fields_of(message, ARGV[3 + number])
    if message[GROUP] ~= '' then
      fields[#fields + 1] = 'group'
      fields[#fields + 1] = message[GROUP]
    end
    local delay = message[DELAY] or queue_delay
    if sent_at then
      redis.call('ZADD', MOVED, text(sent_at), redis.call('XADD', STREAM, stamp, unpack(fields)))
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
end
tell(visible, due)
return reply

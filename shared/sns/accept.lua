-- Gives a message of a FIFO topic its place, or finds the one that it is a duplicate of.
--
-- KEYS[1]  hash: the message that has this deduplication id: message_id, sequence, kept ("1" once it is durable in Kafka)
-- KEYS[2]  string: the topic's last sequence number
-- ARGV[1]  the message's own id
-- ARGV[2]  now, Unix microseconds: numbers go on growing also where this Redis has lost the last one
-- ARGV[3]  how long the id is remembered, in milliseconds
-- reply    {message_id, sequence, kept}: of the first message with this id; kept is "1" for a duplicate of a durable one
local found = redis.call('HMGET', KEYS[1], 'message_id', 'sequence', 'kept')
if found[1] then
  return {found[1], found[2], found[3]}
end
local sequence = math.max(tonumber(ARGV[2]), tonumber(redis.call('GET', KEYS[2]) or 0) + 1)
local text = string.format('%.0f', sequence)
redis.call('SET', KEYS[2], text)
redis.call('HSET', KEYS[1], 'message_id', ARGV[1], 'sequence', text, 'kept', '0')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {ARGV[1], text, '0'}

-- Append one message to the stream of a topic unless the same message was appended before.
-- KEYS[1]  stream of the topic (XADD; never trimmed: what is in it is not lost)
-- KEYS[2]  string: id of the message that was sent under this deduplication id (expires)
-- ARGV[1]  seconds for which a deduplication id is remembered
-- ARGV[2]  message id
-- ARGV[3]  body
-- ARGV[4]  attributes, JSON
-- ARGV[5]  MD5 of the body, hex
-- ARGV[6]  time of sending, Unix milliseconds
-- Reply: the id of the message, an earlier one if there was one.
local earlier = redis.call('GET', KEYS[2])
if earlier then
  return earlier
end
redis.call('XADD', KEYS[1], '*', 'message_id', ARGV[2], 'body', ARGV[3], 'attributes', ARGV[4], 'md5_of_body', ARGV[5],
  'sent_at_ms', ARGV[6])
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[1])
return ARGV[2]

-- Messages that are sent, in MessagePack: an array of an array each, with "" for what is not there.
local ID, ATTRIBUTES, MD5 = 1, 2, 3 -- attributes: JSON; MD5: of the body
local SIZE, DELAY = 4, 5 -- in bytes; in ms, nil: the queue's
local DELIVERY, GROUP, DEDUPLICATION, SHA256 = 6, 7, 8, 9 -- delivery: MD5 of the delivery id; SHA-256: of the body
local SENT_AT, FURTHER = 10, 11 -- Unix ms, nil: now; further fields and values
local sent_now = text(now)

-- As they are in the stream.
local function fields_of(message, body)
  local fields = {'message_id', message[ID], 'body', body, 'attributes', message[ATTRIBUTES], 'md5_of_body', message[MD5],
    'sent_at_ms', message[SENT_AT] and text(message[SENT_AT]) or sent_now}
  for at, word in ipairs(message[FURTHER]) do
    fields[10 + at] = word
  end
  return fields
end

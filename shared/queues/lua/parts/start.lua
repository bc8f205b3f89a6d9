-- What every script begins with. The keys, of a standard and of a FIFO queue:
--   STREAM    stream of the messages. Fields: message_id, body, attributes (JSON), md5_of_body, sent_at_ms, then where there is
--             one: sender_id, trace_header, group, deduplication, source_arn, receives and first_received_ms (a dead letter's)
--   SETTINGS  hash, shared/queues/settings.py; or only `deleted`, the revision with which the queue was deleted (expires)
--   STATE     hash: cursor (standard: the last entry that was received), waiting (until when somebody waits, Unix ms), purged_at
--   FLIGHT    sorted set: entries that were received, by when they are visible again. Standard: those whose time is over are
--             visible and wait for their next receive here. FIFO: these are taken out
--   RECEIVED  hash: an entry that was received -> "<receives>|<first receive, ms>|<last receive, ms>|<group>"
--   DELAYED   sorted set. Standard: entries of LATER, by when they are due. FIFO: entries of STREAM, by when they were sent
--   SENT      sorted set: what must not be sent twice, by when that may be forgotten. "d" + MD5 of a delivery id, "q" + deduplication
--             id, "g" + group + deduplication id, "a" + receive attempt id; parts are divided by NUL
--   SENT_IDS  hash: the same -> what was answered then
--   LATER     (standard) stream: messages that are delayed, until they are due
--   MOVED     (standard) sorted set: entries that came with an older time of sending, by that
--   ORDER     (FIFO) sorted set, all scores 0: "<group>" NUL "<entry's ms, 13 digits><its number, 7 digits>"
--   READY     (FIFO) sorted set: groups whose first message is not in flight, by that message's time
-- ARGV[1]  now, Unix ms: the clock of a test; "" for Redis's own
local STREAM, SETTINGS, STATE, FLIGHT, RECEIVED, DELAYED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local SENT, SENT_IDS = KEYS[7], KEYS[8]
local now, stamp = tonumber(ARGV[1]), ARGV[1] .. '-*'
if not now then
  local time = redis.call('TIME')
  now, stamp = time[1] * 1000 + math.floor(time[2] / 1000), '*'
end

local function text(number)
  return string.format('%.0f', number)
end

local function ms_of(id)
  return tonumber(string.match(id, '^%d+'))
end

-- Wake those who wait for a message: `count` of them now; one when something is due, in case nobody knows of that time yet.
local function tell(count, due)
  local waiting = tonumber(redis.call('HGET', STATE, 'waiting') or 0)
  if waiting > now and (count > 0 or (due and due < waiting)) then
    redis.call('PUBLISH', 'queues:events', STREAM .. ' ' .. count .. ' ' .. text(math.max(0, (due or now) - now)))
  end
end

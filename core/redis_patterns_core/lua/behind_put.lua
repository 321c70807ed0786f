-- Store a value for those who read, and note that it is still to be saved, in one step.
--
-- KEYS[1]  hash: what is to be saved, by key: SEQUENCE:FIRST_AT:OPERATION and the payload
-- KEYS[2]  sorted set: the keys by when they are due (milliseconds since the epoch)
-- KEYS[3]  hash: who is saving, by key: UNTIL:TOKEN
-- KEYS[4]  string: the last sequence number
-- KEYS[5]  string: the value for those who read
-- KEYS[6]  string: the token of those who load it, whose value is older than this write
-- ARGV     key, operation s(et) or d(elete), payload, how long it may wait (milliseconds), how long at most since its
--          first write (milliseconds), for how long it is read (milliseconds), how many keys may be waiting
-- Reply    the write's sequence number, 0 where too many are waiting
local key, operation, payload = ARGV[1], ARGV[2], ARGV[3]
local delay, most = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local microseconds = time[1] * 1e6 + time[2]
local now = math.floor(microseconds / 1000)
local function whole(number) return string.format('%.0f', number) end

local waiting = redis.call('HGET', KEYS[1], key)
if not waiting and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[7]) then
  return 0
end
local first = waiting and tonumber(string.match(waiting, '^%d+:(%d+):')) or now
local sequence = math.max(microseconds, (tonumber(redis.call('GET', KEYS[4])) or 0) + 1)
redis.call('SET', KEYS[4], whole(sequence))
redis.call('DEL', KEYS[6])
redis.call('HSET', KEYS[1], key, whole(sequence) .. ':' .. whole(first) .. ':' .. operation .. payload)
local saving = redis.call('HGET', KEYS[3], key)
-- While it is being saved it is not due, or two would save it at a time, in any order.
if not saving or tonumber(string.match(saving, '^%d+')) <= now then
  redis.call('ZADD', KEYS[2], whole(math.min(now + delay, first + most)), key)
end
if operation == 's' then
  redis.call('SET', KEYS[5], payload, 'PX', ARGV[6])
else
  redis.call('DEL', KEYS[5])
end
return sequence

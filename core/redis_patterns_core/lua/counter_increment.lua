-- Count, once for each event, and let the counter live for a while from now on.
--
-- KEYS[1]  string: the counter
-- KEYS[2]  string: what the counter was after this event; none where the event has no id
-- ARGV     by how much, for how long KEYS[1] and KEYS[2] are kept (milliseconds; KEYS[1] for ever where 0)
-- Reply    what it is now, or was when the event was counted, as text: a number would lose its digits beyond 2^53
if KEYS[2] then
  local counted = redis.call('GET', KEYS[2])
  if counted then return counted end
end
redis.call('INCRBY', KEYS[1], ARGV[1])
local value = redis.call('GET', KEYS[1])
local ttl = tonumber(ARGV[2])
if ttl > 0 and redis.call('PTTL', KEYS[1]) < ttl then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if KEYS[2] then redis.call('SET', KEYS[2], value, 'PX', ARGV[3]) end
return value

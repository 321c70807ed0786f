-- Give back the slot that this token holds.
--
-- KEYS[1]  sorted set: tokens by when their leases end (milliseconds since the epoch), expiring with the last
-- ARGV     token
-- Reply    1 given back, 0 the token holds none: its lease may have ended
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local mine = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not mine then
  return 0
end
redis.call('ZREM', KEYS[1], ARGV[1])
return tonumber(mine) > now and 1 or 0

-- Give back the slot that this token holds, or give up waiting for one. Where one is free then, one of those who wait is
-- woken: also where the token holds nothing, as it may have taken a wake-up that it has no use for.
--
-- KEYS[1]  sorted set: tokens by when their leases end (milliseconds since the epoch), expiring with the last
-- KEYS[2]  sorted set: the tokens of those who wait, by until when
-- KEYS[3]  list: one element wakes one who waits
-- ARGV     token
-- Reply    1 given back, 0 the token holds none: its lease may have ended
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local mine = redis.call('ZSCORE', KEYS[1], ARGV[1])
if mine then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
redis.call('ZREM', KEYS[2], ARGV[1])
-- Whether one is free is for those who come to see; woken in vain they wait again.
redis.call('DEL', KEYS[3])
if redis.call('ZCARD', KEYS[2]) > 0 then
  redis.call('RPUSH', KEYS[3], 1)
  redis.call('PEXPIRE', KEYS[3], 60000)
end
return mine and tonumber(mine) > now and 1 or 0

-- Tell who holds a lock, and how many wait for it.
--
-- KEYS[1]  string: the holder's token, expiring with the lease
-- KEYS[2]  string: the last fence
-- KEYS[3]  sorted set: the tokens of those who wait, by until when (milliseconds since the epoch)
-- Reply    {the holder's token or '', milliseconds that its lease has left (-1: it does not expire), the holder's fence
--          or 0, how many wait}
local holder = redis.call('GET', KEYS[1])
local time = redis.call('TIME')
local moment = string.format('(%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local waiting = redis.call('ZCOUNT', KEYS[3], moment, '+inf')
if not holder then
  return {'', 0, 0, waiting}
end
return {holder, redis.call('PTTL', KEYS[1]), tonumber(redis.call('GET', KEYS[2])) or 0, waiting}

-- Count the leases that are held.
--
-- KEYS[1]  sorted set: the members that hold it, by when their leases end (milliseconds since the epoch)
-- Reply    how many leases have not ended
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZCOUNT', KEYS[1], string.format('(%.0f', now), '+inf')

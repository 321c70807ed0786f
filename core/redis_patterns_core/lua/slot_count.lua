-- Count the slots that are held.
--
-- KEYS[1]  sorted set: tokens by when their leases end (milliseconds since the epoch)
-- Reply    how many leases have not ended
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return redis.call('ZCOUNT', KEYS[1], string.format('(%.0f', now), '+inf')

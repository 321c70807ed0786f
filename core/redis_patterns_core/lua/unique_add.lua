-- Add members to a HyperLogLog, and see to it that it is kept for as long as its period is.
--
-- KEYS[1]  string: the HyperLogLog
-- ARGV     when the members were there (milliseconds since the epoch), how far ahead that may be, until when the period is
--          kept (milliseconds since the epoch), how much longer the key lives (milliseconds), the members
-- Reply    1 added, -1 the period is not kept any more, -2 it is too far ahead
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = tonumber(ARGV[3])
if tonumber(ARGV[1]) > now + tonumber(ARGV[2]) then return -2 end
if ends <= now then return -1 end
for place = 5, #ARGV do redis.call('PFADD', KEYS[1], ARGV[place]) end
local expires = ends + tonumber(ARGV[4])
if redis.call('PTTL', KEYS[1]) < expires - now then
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', expires))
end
return 1

-- Unite a HyperLogLog with one that was read elsewhere, and see to it that it is kept for as long as its period is.
--
-- KEYS[1]  string: the HyperLogLog
-- KEYS[2]  string: the other one, while this runs
-- ARGV     when the other's members were there (milliseconds since the epoch), how far ahead that may be, until when the
--          period is kept (milliseconds since the epoch), how much longer the key lives (milliseconds), the other one
-- Reply    1 united, -1 the period is not kept any more, -2 it is too far ahead
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = tonumber(ARGV[3])
if tonumber(ARGV[1]) > now + tonumber(ARGV[2]) then return -2 end
if ends <= now then return -1 end
-- PFMERGE takes keys only. Where it fails, this one is not left for long.
redis.call('SET', KEYS[2], ARGV[5], 'PX', 1000)
redis.call('PFMERGE', KEYS[1], KEYS[1], KEYS[2])
redis.call('DEL', KEYS[2])
local expires = ends + tonumber(ARGV[4])
if redis.call('PTTL', KEYS[1]) < expires - now then
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', expires))
end
return 1

-- Count an event in each resolution that still keeps the bucket of its time, in one step.
--
-- KEYS     hashes: for each resolution the chunk that has the bucket, counts by the start of their buckets (seconds since
--          the epoch); then a string that is there while the event is known, where it has an id
-- ARGV     by how much, when it happened (milliseconds since the epoch), how far ahead that may be, for how long the event
--          is known (milliseconds, 0 where it has no id), for how long a hash outlives what it keeps (milliseconds); then
--          for each resolution its bucket, and until when that is kept (milliseconds since the epoch)
-- Reply    1 counted, 0 it was counted before, -1 no resolution keeps its bucket any more, -2 it is too far ahead
local by, at, ahead = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local known, spare = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Before its time is looked at: a repeated call may come when that is over.
if known > 0 then
  local key = KEYS[#KEYS]
  if redis.call('EXISTS', key) == 1 then return 0 end
end
if at > now + ahead then return -2 end
local kept = {}
for place = 1, (#ARGV - 5) / 2 do
  local key, bucket, ends = KEYS[place], ARGV[4 + 2 * place], tonumber(ARGV[5 + 2 * place])
  if ends > now then
    -- HINCRBY would refuse this too, but perhaps when another resolution has counted already. These are doubles, in any
    -- Lua, and up to 1024 beyond a bound may be rounded to it: so a sum that is as large as a bound is none either.
    local sum = 0.0 + tonumber(redis.call('HGET', key, bucket) or 0) + tonumber(by)
    if sum >= 2 ^ 63 or sum <= -2 ^ 63 then
      return redis.error_reply('ERR increment or decrement would overflow')
    end
    kept[#kept + 1] = {key, bucket, ends + spare}
  end
end
if #kept == 0 then return -1 end
for _, found in ipairs(kept) do
  local key, bucket, expires = found[1], found[2], found[3]
  redis.call('HINCRBY', key, bucket, by)
  -- A late event belongs to an early bucket, and takes nothing from the others of its chunk.
  if redis.call('PTTL', key) < expires - now then
    redis.call('PEXPIREAT', key, string.format('%.0f', expires))
  end
end
if known > 0 then
  local key = KEYS[#KEYS]
  redis.call('SET', key, '', 'PX', ARGV[4])
end
return 1

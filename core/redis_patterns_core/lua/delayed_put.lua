-- Put items into a queue that gives them later; what is due already goes where it is taken from.
--
-- A member is its number (16 digits) and the item; its score is when it is due (milliseconds since the epoch).
--
-- KEYS[1]  sorted set: the items that are not due
-- KEYS[2]  list: the items that are
-- KEYS[3]  string: how many items there have been
-- KEYS[4]  list: one element wakes who waits for the first of KEYS[1] to be due
-- ARGV     how many items there may be (0 any number), delay or at, then for each: after how long or when it is due
--          (milliseconds), the item
-- Reply    how many there are then; 0 there would be too many, and there are none of them
local most, after = tonumber(ARGV[1]), ARGV[2] == 'delay'
local length = redis.call('ZCARD', KEYS[1]) + redis.call('LLEN', KEYS[2]) + (#ARGV - 2) / 2
if most > 0 and length > most then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local first = tonumber(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2])
for place = 3, #ARGV, 2 do
  local due = tonumber(ARGV[place]) + (after and now or 0)
  if due <= now then
    redis.call('RPUSH', KEYS[2], ARGV[place + 1])
  else
    local number = redis.call('INCR', KEYS[3])
    redis.call('ZADD', KEYS[1], string.format('%.0f', due), string.format('%016.0f', number) .. ARGV[place + 1])
    if not first or due < first then
      first = due
      redis.call('DEL', KEYS[4])
      redis.call('RPUSH', KEYS[4], 1)
      redis.call('PEXPIRE', KEYS[4], 60000)
    end
  end
end
return length

-- Let a job that nobody works on be due at another time.
--
-- KEYS[1]  sorted set: jobs that are ready, by their places
-- KEYS[2]  sorted set: jobs that are for later, by when they are due (milliseconds since the epoch)
-- KEYS[3]  hash: whether it is paused
-- KEYS[4]  list: one element wakes a worker
-- ARGV     id, delay or at, after how long or when (milliseconds)
-- Reply    1 it is, 0 it is neither ready nor for later
local id = ARGV[1]
if redis.call('ZREM', KEYS[1], id) + redis.call('ZREM', KEYS[2], id) == 0 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- One that is due at once passes through here too, and gets its place in the line when a worker comes.
redis.call('ZADD', KEYS[2], string.format('%.0f', ARGV[3] + (ARGV[2] == 'delay' and now or 0)), id)
if redis.call('ZRANK', KEYS[2], id) == 0 and redis.call('HEXISTS', KEYS[3], 'paused') == 0 then
  if redis.call('LLEN', KEYS[4]) == 0 then redis.call('RPUSH', KEYS[4], 1) end
  redis.call('PEXPIRE', KEYS[4], 60000)
end
return 1

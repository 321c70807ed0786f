-- Tell which sessions of a user are alive; those that are over are forgotten.
--
-- KEYS[1]  sorted set: the user's sessions, by when they end (milliseconds since the epoch)
-- ARGV     1 where their members are wanted, else only how many there are
-- Reply    how many there are, or {member, when it ends, member, ...} with those that end last first
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
if ARGV[1] == '1' then return redis.call('ZREVRANGE', KEYS[1], 0, -1, 'WITHSCORES') end
return redis.call('ZCARD', KEYS[1])

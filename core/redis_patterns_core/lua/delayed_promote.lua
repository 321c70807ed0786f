-- Move items that are due to where they are taken from, in one step, so that none is lost or doubled.
--
-- KEYS[1]  sorted set: the items that are not due; for its members see delayed_put
-- KEYS[2]  list: the items that are
-- ARGV     how many at most
-- Reply    {how many were moved, milliseconds until the next is due, or -1 there is none}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, ARGV[1])
for _, member in ipairs(due) do
  redis.call('ZREM', KEYS[1], member)
  redis.call('RPUSH', KEYS[2], string.sub(member, 17))
end
local first = tonumber(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2])
return {#due, first and math.max(0, first - now) or -1}

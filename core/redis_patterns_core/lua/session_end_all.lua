-- End all sessions of a user, but perhaps one, and let no login succeed that has begun before.
--
-- KEYS[1]  sorted set: the user's sessions, by when they end (milliseconds since the epoch); only those in it are alive
-- KEYS[2]  string: what a login under way must find still
-- ARGV     the member in KEYS[1] that stays or ''
-- Reply    the members that have ended
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('DEL', KEYS[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local members = redis.call('ZRANGE', KEYS[1], 0, -1)
local ended = {}
for _, member in ipairs(members) do
  if member ~= ARGV[1] then
    redis.call('ZREM', KEYS[1], member)
    ended[#ended + 1] = member
  end
end
return ended

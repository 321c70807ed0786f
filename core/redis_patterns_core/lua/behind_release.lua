-- Let the keys that a token has claimed be due again at once: nothing was saved, and nothing has failed.
--
-- KEYS[1]  sorted set: the keys by when they are due (milliseconds since the epoch)
-- KEYS[2]  hash: who is saving, by key: UNTIL:TOKEN
-- ARGV     token
-- Reply    how many there were
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local released = 0
local saving = redis.call('HGETALL', KEYS[2])
for place = 1, #saving, 2 do
  if string.match(saving[place + 1], '^%d+:(.*)$') == ARGV[1] then
    redis.call('HDEL', KEYS[2], saving[place])
    redis.call('ZADD', KEYS[1], now, saving[place])
    released = released + 1
  end
end
return released

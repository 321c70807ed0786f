-- Keep keys for who is saving them.
--
-- KEYS[1]  sorted set: the keys by when they are due (milliseconds since the epoch)
-- KEYS[2]  hash: who is saving, by key: UNTIL:TOKEN
-- ARGV     token, for how long (milliseconds), the keys
-- Reply    how many are still theirs
local time = redis.call('TIME')
local over = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2])
local kept = 0
for place = 3, #ARGV do
  local saving = redis.call('HGET', KEYS[2], ARGV[place])
  if saving and string.match(saving, '^%d+:(.*)$') == ARGV[1] then
    redis.call('HSET', KEYS[2], ARGV[place], over .. ':' .. ARGV[1])
    redis.call('ZADD', KEYS[1], over, ARGV[place])
    kept = kept + 1
  end
end
return kept

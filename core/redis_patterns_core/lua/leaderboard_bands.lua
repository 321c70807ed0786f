-- Count the members between scores, all at one moment.
--
-- KEYS[1]  sorted set: the board
-- ARGV     scores, each greater than the one before
-- Reply    how many are below the first, from each up to but without the next, and from the last on
local call, reply = redis.call, {}
reply[1] = call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[1])
for place = 1, #ARGV - 1 do
  reply[place + 1] = call('ZCOUNT', KEYS[1], ARGV[place], '(' .. ARGV[place + 1])
end
reply[#ARGV + 1] = call('ZCOUNT', KEYS[1], ARGV[#ARGV], '+inf')
return reply

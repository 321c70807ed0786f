-- Tell who holds leases, and how many wait for one.
--
-- KEYS[1]  sorted set: the members that hold it, by when their leases end (milliseconds since the epoch)
-- KEYS[2]  sorted set: the members in line, by until when they are taken to be there
-- KEYS[3]  string: the last fence; only where there are any
-- Reply    {how many wait, the last fence or 0, {member, milliseconds that its lease has left, ...}}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local after = string.format('(%.0f', now)
local held = redis.call('ZRANGEBYSCORE', KEYS[1], after, '+inf', 'WITHSCORES')
for place = 2, #held, 2 do
  held[place] = held[place] - now
end
return {redis.call('ZCOUNT', KEYS[2], after, '+inf'), KEYS[3] and tonumber(redis.call('GET', KEYS[3])) or 0, held}

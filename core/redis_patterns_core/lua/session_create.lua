-- Create a session, and note it among those of its user; for its fields see session_use.
--
-- KEYS[1]  hash: the session
-- KEYS[2]  sorted set: its user's sessions, by when they end (milliseconds since the epoch)
-- KEYS[3]  string: what a login under way must find still
-- ARGV     the hash of its secret, its member in KEYS[2], its user or '', for how long it lives without an access and at
--          all (milliseconds), how many sessions a user may have (0 any), 1 where the one that would end first makes room,
--          what KEYS[3] must be or '', its device, the names and values of its fields
-- Reply    {1, now, when it ends unless it is accessed}; {2} the user has too many; {3} all were ended since; {4} taken
local secret, member, user, idle, absolute = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local most = tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%.0f', number) end

local ends = now + math.min(idle, absolute)
if user ~= '' then
  if ARGV[8] ~= '' and redis.call('GET', KEYS[3]) ~= ARGV[8] then return {3} end
end
if redis.call('EXISTS', KEYS[1]) == 1 then
  -- Who asks again, because no answer came, has created it already.
  if redis.call('HGET', KEYS[1], 'k') ~= secret then return {4} end
  return {1, tonumber(redis.call('HGET', KEYS[1], 'c')), ends}
end
if user ~= '' then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', whole(now))
  local over = redis.call('ZCARD', KEYS[2]) + 1 - most
  if most > 0 and over > 0 then
    if ARGV[7] ~= '1' then return {2} end
    redis.call('ZPOPMIN', KEYS[2], over)
  end
  redis.call('ZADD', KEYS[2], whole(ends), member)
  if redis.call('PTTL', KEYS[2]) < ends - now then redis.call('PEXPIREAT', KEYS[2], whole(ends)) end
end
redis.call('HSET', KEYS[1], 'c', whole(now), 't', whole(now), 'r', whole(now), 'u', user, 'k', secret, 'v', 1, 'd', ARGV[9])
for place = 10, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1]) end
redis.call('PEXPIREAT', KEYS[1], whole(ends))
return {1, now, ends}

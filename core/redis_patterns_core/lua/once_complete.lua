-- Keep the result of what was done: for who has claimed it, or for one who settles what nobody is at. The first is kept.
--
-- KEYS[1]  hash: see once_claim
-- ARGV     token, or '' to settle it; result; how long it is kept (milliseconds)
-- Reply    {kept | done | running | unsettled | absent, since (milliseconds since the epoch), milliseconds that the claim
--          has left, another result that is kept or ''}
local token, result, keep = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('HMGET', KEYS[1], 't', 'e', 'a', 'r')
local holder, left, since = found[1], (tonumber(found[2]) or 0) - now, tonumber(found[3]) or 0

if found[4] then
  -- The same one: it has been kept before, and the answer was lost.
  if found[4] == result then return {'kept', since, 0, ''} end
  return {'done', since, 0, found[4]}
end
if holder ~= token and (token ~= '' or holder and left > 0) then
  if not holder then return {'absent', 0, 0, ''} end
  return {left > 0 and 'running' or 'unsettled', since, math.max(left, 0), ''}
end
redis.call('HSET', KEYS[1], 'r', result, 'a', string.format('%.0f', now))
redis.call('HDEL', KEYS[1], 't', 'e')
redis.call('PEXPIRE', KEYS[1], keep)
return {'kept', now, 0, ''}

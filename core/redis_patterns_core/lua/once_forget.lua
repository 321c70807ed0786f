-- Forget an id: the claim of this token where it was not done, or whatever there is where nobody is at it.
--
-- KEYS[1]  hash: see once_claim
-- ARGV     token, or '' for whatever there is
-- Reply    1 forgotten, 0 there is nothing, or it is another's
local holder = redis.call('HGET', KEYS[1], 't')
if ARGV[1] ~= '' and holder ~= ARGV[1] then
  return 0
end
if ARGV[1] == '' and holder then
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  if tonumber(redis.call('HGET', KEYS[1], 'e')) > now then return 0 end
end
return redis.call('DEL', KEYS[1])

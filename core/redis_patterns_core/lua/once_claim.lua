-- Claim an id for one who is to do it, unless it was done or somebody is at it; then tell how it stands.
-- That the same token may claim it again makes a repeated call succeed whose first answer was lost.
--
-- KEYS[1]  hash: t token of who claimed it, e when that claim ends, a since when it is claimed or done (both milliseconds
--          since the epoch), f hash of the request's fingerprint, r result; t and e until it is done, r from then on
-- ARGV     token, lease (milliseconds), how long it is remembered after the lease (milliseconds), 1 where it is claimed
--          again after a crash, hash of the fingerprint or ''
-- Reply    {claimed | running | unsettled | done | reused, since (milliseconds since the epoch), milliseconds that the
--          claim has left, result or ''}
local token, lease, keep, again, print = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1', ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('HMGET', KEYS[1], 't', 'e', 'a', 'f', 'r')
local holder, left, since = found[1], (tonumber(found[2]) or 0) - now, tonumber(found[3]) or now

if print ~= '' and found[4] and found[4] ~= print then return {'reused', since, 0, ''} end
if found[5] then return {'done', since, 0, found[5]} end
if holder and holder ~= token then
  if left > 0 then return {'running', since, left, ''} end
  if not again then return {'unsettled', since, 0, ''} end
  since = now
end
redis.call('HSET', KEYS[1], 't', token, 'e', string.format('%.0f', now + lease), 'a', string.format('%.0f', since))
if print ~= '' then redis.call('HSET', KEYS[1], 'f', print) end
redis.call('PEXPIRE', KEYS[1], lease + keep)
return {'claimed', since, lease, ''}

-- Tell how it stands with an id.
--
-- KEYS[1]  hash: see once_claim
-- Reply    {absent | running | unsettled | done, since (milliseconds since the epoch), milliseconds that the claim has
--          left, result or ''}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('HMGET', KEYS[1], 't', 'e', 'a', 'r')
local left, since = (tonumber(found[2]) or 0) - now, tonumber(found[3]) or 0
if found[4] then return {'done', since, 0, found[4]} end
if not found[1] then return {'absent', 0, 0, ''} end
return {left > 0 and 'running' or 'unsettled', since, math.max(left, 0), ''}

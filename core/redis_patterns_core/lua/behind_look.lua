-- Read a value, and where there is none note that one is loaded: any write of the key takes that note away.
--
-- KEYS[1]  hash: what is to be saved, by key
-- KEYS[2]  string: the value for those who read
-- KEYS[3]  string: the token of those who load it
-- ARGV     key, a new token, for how long it is there (milliseconds)
-- Reply    {what is to be saved or nil, the value or nil, the token of all who load it now}
local waiting, written = redis.call('HGET', KEYS[1], ARGV[1]), redis.call('GET', KEYS[2])
if waiting or written then return {waiting, written, ''} end
local token = redis.call('GET', KEYS[3]) or ARGV[2]
redis.call('SET', KEYS[3], token, 'PX', ARGV[3])
return {false, false, token}

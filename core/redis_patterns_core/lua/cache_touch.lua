-- Let a value live for so long from now; one that was invalidated softly ends when it would.
--
-- KEYS[1]  string: the entry
-- ARGV     its TTL (milliseconds)
-- Reply    all of the entry that stands before the value, as its tags have to live as long; nil there is no value, or one
--          that was invalidated, whose cost cache_soften has set to 9999999
local head = redis.call('GETRANGE', KEYS[1], 0, 43)
local cost, codec, tags = string.match(head, '^V' .. string.rep('.', 29) .. '(%d%d%d%d%d%d%d)(%d%d)(%d%d%d%d%d)$')
if not cost or cost == '9999999' then
  return false
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return redis.call('GETRANGE', KEYS[1], 0, 43 + codec + tags)

-- Decide who loads an entry that somebody has not found, or not fresh: one at a time does, and the others are told.
--
-- An entry begins with: kind, epoch (16 characters), until when it is somebody's to load (13 digits, milliseconds since
-- the epoch). Kinds: V a value; L a lease, to be filled; W a lease for which somebody waits; F a lease given up; X a
-- value that is being written, see cache_begin.
--
-- KEYS[1]  string: the entry
-- KEYS[2]  list: one element wakes all who wait for it, one after the other
-- KEYS[3]  string: the new epoch of who took over a lease or refreshes a value, and then the epoch that this has; kept as
--          long as the lease is held, so that who asks again, because no answer came, does not wait for itself
-- ARGV     a new epoch, how long the lease is held (milliseconds), how long it may be filled (milliseconds), with how
--          many milliseconds or less left a value is stale, the epoch of a value that is none or '', 1 where a fresh
--          value is to be loaded early, the epoch that was waited for or ''
-- Reply    {what, epoch, milliseconds, the entry or ''}: hit (with what it has left), stale (the same), refresh (the
--          same, and it is the caller's to load), load, wait (how long it is somebody's), failed
local new, lease, life, stale = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local theirs = string.format('%013.0f', now + lease)

local kind = redis.call('GETRANGE', KEYS[1], 0, 0)
local epoch = redis.call('GETRANGE', KEYS[1], 1, 16)
local until_then = tonumber(redis.call('GETRANGE', KEYS[1], 17, 29)) or 0

if kind == 'V' and epoch ~= ARGV[5] then
  local left = redis.call('PTTL', KEYS[1])
  local fresh = left > stale
  if (not fresh or ARGV[6] == '1') and (until_then <= now or redis.call('GET', KEYS[3]) == new .. epoch) then
    redis.call('SETRANGE', KEYS[1], 17, theirs)
    redis.call('SET', KEYS[3], new .. epoch, 'PX', ARGV[2])
    return {'refresh', epoch, left, redis.call('GET', KEYS[1])}
  end
  return {fresh and 'hit' or 'stale', epoch, left, redis.call('GET', KEYS[1])}
end
if kind == 'L' or kind == 'W' then
  if until_then > now and epoch ~= new and redis.call('GET', KEYS[3]) ~= new .. epoch then
    redis.call('SETRANGE', KEYS[1], 0, 'W')
    return {'wait', epoch, until_then - now, ''}
  end
  -- Its holder may be dead. If it is only slow, whoever of the two is first fills it: the epoch stays.
  redis.call('SETRANGE', KEYS[1], 17, theirs)
  if epoch ~= new then redis.call('SET', KEYS[3], new .. epoch, 'PX', ARGV[2]) end
  return {'load', epoch, lease, ''}
end
if kind == 'X' or kind == 'F' and epoch == ARGV[7] then
  return {'failed', epoch, 0, ''}
end
redis.call('SET', KEYS[1], 'L' .. new .. theirs, 'PX', life)
redis.call('DEL', KEYS[2])
return {'load', new, lease, ''}

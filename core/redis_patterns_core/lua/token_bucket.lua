-- Token bucket as a debt that drains: take tokens if they are there, or say when they will be.
--
-- KEYS[1]  string "DEBT SINCE PERIOD": the debt in units of 1/PERIOD token as it was at SINCE (microseconds since the
--          epoch). An absent key is a full bucket, so the key may expire once the debt has drained.
-- ARGV     capacity (tokens), tokens and period (refill: so many tokens in so many microseconds), cost (tokens),
--          spend (1 to take, 0 to look only)
-- Reply    {allowed 0|1, remaining tokens, retry after, reset after, next after}: microseconds; retry is -1 for never
local capacity = tonumber(ARGV[1])
-- A float in Lua 5.4 too, where a product of integers would wrap around.
local tokens = tonumber(ARGV[2]) + 0.0
local period = tonumber(ARGV[3])
local cost = tonumber(ARGV[4])
local spend = ARGV[5] == '1'

-- TIME is read once: up to Redis 7.0 it moves while a script runs.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

local debt, lag = 0, 0
local state = redis.call('GET', KEYS[1])
if state then
  local owed, since, unit = string.match(state, '^(%d+) (%d+) (%d+)$')
  if not owed then
    return redis.error_reply('CORRUPT this key holds no token bucket')
  end
  debt, since, unit = tonumber(owed), tonumber(since), tonumber(unit)
  if unit ~= period then
    -- The refill rate was changed: the same tokens are owed, counted in the new unit.
    debt = math.min(math.ceil(debt / unit * period), 4503599627370496)
  end
  if since > now then
    -- The clock stepped back: time stands still until it has caught up, and the waits say so.
    lag = since - now
    now = since
  end
  local drained = (now - since) * tokens
  if drained >= debt then debt = 0 else debt = debt - drained end
end

local full = capacity * period
local allowed = debt + cost * period <= full
if allowed and spend then
  debt = debt + cost * period
  local ttl = math.ceil((math.ceil(debt / tokens) + lag) / 1000) + 1
  -- %.0f because tostring would keep 14 of the 16 digits. Value and TTL in one command: no path leaves one without.
  redis.call('SET', KEYS[1], string.format('%.0f %.0f %.0f', debt, now, period), 'PX', string.format('%.0f', ttl))
end

local function wait(missing)
  if missing <= 0 then return 0 end
  return math.ceil(missing / tokens) + lag
end

local remaining = math.max(0, math.floor((full - debt) / period))
local retry = 0
if cost > capacity then
  retry = -1
elseif not allowed then
  retry = wait(debt + cost * period - full)
end
local next_after = 0
if remaining < capacity then
  next_after = wait(debt + (remaining + 1) * period - full)
end
return {allowed and 1 or 0, remaining, retry, wait(debt), next_after}

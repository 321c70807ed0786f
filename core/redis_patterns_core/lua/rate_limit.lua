-- Ask one or several limits, and take from all of them if each allows it: all or none, by the server's clock.
--
-- KEYS[i]  the state of limit i; absent is idle, and every write gives it a TTL that outlasts what it says
--            fixed    string "START COUNT": the window's start, and what was taken in it
--            log      list of "TIME" or "TIME:COST", oldest first, and at its end "USED LAST": the sum and the newest
--            counter  string "INDEX BEFORE COUNT WIDTH": the window's number, what was taken in the one before and in it
--            bucket   string "DEBT SINCE PERIOD": what was taken and has not come back, in 1/PERIOD, as it was at SINCE
-- ARGV     "hit" or "peek", then for each limit six: its algorithm, limit, x, y, cost, "1" if a refusal costs too
--            fixed, log: x is the window in microseconds; counter: x is the window in milliseconds
--            bucket: x of the limit come back in y microseconds
-- Reply    for each limit seven: {allowed 0|1, remaining, retry after, reset after, next after, when, delay}: times in
--          microseconds; retry is -1 for never; when is the moment that the limit took for now
--
-- Where the clock stepped back, a limit stands still at the newest time it knows until the clock has caught up, and all
-- waits say so: that is the lag below.

local floor, ceil, max, min, match = math.floor, math.ceil, math.max, math.min, string.match
local call = redis.call

-- TIME is read once: up to Redis 7.0 it moves while a script runs. Floats, in Lua 5.4 too, where a product of integers
-- would wrap around.
local time = call('TIME')
local clock = tonumber(time[1]) * 1000000 + tonumber(time[2]) + 0.0

local corrupt = false

-- %.0f because tostring would keep 14 of the 16 digits. Value and TTL in one command: no path leaves one without.
local function store(key, text, ttl)
  call('SET', key, text, 'PX', string.format('%.0f', ceil(ttl / 1000) + 1))
end

-- Each algorithm says whether the cost is allowed, and gives a function that takes an amount (0 to take nothing) and then
-- tells: remaining, retry after, reset after, next after, when, delay.

local function fixed(key, limit, width, _, cost)
  local now, start, count, state = clock, nil, 0, call('GET', key)
  if state then
    local from, taken = match(state, '^(%d+) (%d+)$')
    if not from then corrupt = true return false end
    from, count = tonumber(from), tonumber(taken)
    if from > now then now = from end
    start = floor(now / width) * width
    -- Of a narrower window that began in this one all belongs here; of one that began before nothing does.
    if from < start then count = 0 end
  else
    start = floor(now / width) * width
  end
  local ends = start + width - clock
  local allowed = count + cost <= limit
  return allowed, function(amount)
    if amount > 0 then
      count = max(count, min(count + amount, limit))
      store(key, string.format('%.0f %.0f', start, count), ends)
    end
    local remaining = max(0, limit - count)
    return remaining, allowed and 0 or cost > limit and -1 or ends, count > 0 and ends or 0,
      remaining < limit and ends or 0, now, 0
  end
end

local function log(key, limit, width, _, cost)
  local now, used, last, head = clock, 0, 0, call('LINDEX', key, -1)
  if head then
    local sum, newest = match(head, '^(%d+) (%d+)$')
    if not sum then corrupt = true return false end
    used, last = tonumber(sum), tonumber(newest)
    if last > now then now = last end
  end
  local lag = now - clock

  -- Entry k as its time and cost; behind the last one nothing. Read in chunks: mostly the first is enough.
  local chunk, from, size = {}, 0, head and 2 or 0
  local function entry(k)
    if k < from or k >= from + #chunk then
      if size == 0 then return nil end
      from, size = k, min(size * 4, 512)
      chunk = call('LRANGE', key, k, k + size - 1)
    end
    local at, paid = match(chunk[k - from + 1] or '', '^(%d+):?(%d*)$')
    if not at then return nil end
    return tonumber(at), tonumber(paid) or 1
  end

  local dead, oldest, paid = 0, entry(0)
  while oldest and oldest <= now - width do
    used, dead = used - paid, dead + 1
    oldest, paid = entry(dead)
  end
  local allowed = used + cost <= limit
  return allowed, function(amount)
    local added = amount > 0
    if added then
      used, last = used + amount, now
      -- A refusal that costs may take more than there is: what is oldest is forgotten as long as it changes nothing.
      while oldest and used - paid >= limit do
        used, dead = used - paid, dead + 1
        oldest, paid = entry(dead)
      end
    end
    -- How long until `wanted` fit: the oldest leave until they do.
    local function wait(wanted)
      local left, k = used, dead
      while true do
        local at, cost_then = entry(k)
        if not at then return last + width - now + lag end
        left, k = left - cost_then, k + 1
        if left + wanted <= limit then return at + width - now + lag end
      end
    end
    local remaining = max(0, limit - used)
    local retry = allowed and 0 or cost > limit and -1 or wait(cost)
    local next_after = remaining < limit and wait(remaining + 1) or 0
    if added then
      if dead > 0 then call('LTRIM', key, dead, -1) end
      local text = amount == 1 and string.format('%.0f', now) or string.format('%.0f:%.0f', now, amount)
      local tail = string.format('%.0f %.0f', used, last)
      if head then
        call('LSET', key, -1, text)
        call('RPUSH', key, tail)
      else
        call('RPUSH', key, text, tail)
      end
      call('PEXPIRE', key, string.format('%.0f', ceil((width + lag) / 1000) + 1))
    end
    return remaining, retry, used > 0 and last + width - now + lag or 0, next_after, now, 0
  end
end

local function counter(key, limit, width, _, cost)
  local now, before, count, state = clock, 0, 0, call('GET', key)
  local index = floor(now / (width * 1000))
  if state then
    local number, earlier, taken, wide = match(state, '^(%d+) (%d+) (%d+) (%d+)$')
    if not number then corrupt = true return false end
    number, before, count, wide = tonumber(number), tonumber(earlier), tonumber(taken), tonumber(wide)
    now = max(now, number * wide * 1000)
    local current = floor(now / (wide * 1000))
    if current == number + 1 then before, count = count, 0
    elseif current > number then before, count = 0, 0 end
    index = floor(now / (width * 1000))
    if wide ~= width then
      -- The window was changed: what counts now counts as taken now.
      local gone = floor(now / 1000) - current * wide
      before, count = 0, ceil(before * (wide - gone) / wide) + count
    end
  end
  local lag, gone = now - clock, floor(now / 1000) - index * width
  local function fits(wanted) return before * (width - gone) + (count + wanted) * width <= limit * width end
  local allowed = fits(cost)
  return allowed, function(amount)
    if amount > 0 then
      count = max(count, min(count + amount, limit))
      store(key, string.format('%.0f %.0f %.0f %.0f', index, before, count, width), (2 * width - gone) * 1000 + lag)
    end
    -- From milliseconds of the window to microseconds from now.
    local function wait(until_then) return (index * width + until_then) * 1000 - now + lag end
    local function wait_for(wanted)
      local room = limit - count - wanted
      if room >= 0 then return wait(width - floor(room * width / before)) end
      return wait(2 * width - floor((limit - wanted) * width / count))
    end
    local remaining = max(0, floor((limit * width - before * (width - gone) - count * width) / width))
    local retry = allowed and 0 or cost > limit and -1 or wait_for(cost)
    local next_after = remaining < limit and wait_for(remaining + 1) or 0
    return remaining, retry, count > 0 and wait(2 * width) or before > 0 and wait(width) or 0, next_after, now, 0
  end
end

local function bucket(key, limit, tokens, period, cost)
  local now, debt, state = clock, 0, call('GET', key)
  if state then
    local owed, since, unit = match(state, '^(%d+) (%d+) (%d+)$')
    if not owed then corrupt = true return false end
    debt, since, unit = tonumber(owed), tonumber(since), tonumber(unit)
    -- The rate was changed: the same is owed, counted in the new unit.
    if unit ~= period then debt = min(ceil(debt / unit * period), 4503599627370496) end
    now = max(now, since)
    local drained = (now - since) * tokens
    if drained >= debt then debt = 0 else debt = debt - drained end
  end
  local lag = now - clock
  local function wait(missing) return missing > 0 and ceil(missing / tokens) + lag or 0 end
  local full, price = limit * period, cost * period
  local allowed = debt + price <= full
  return allowed, function(amount)
    local retry = allowed and 0 or cost > limit and -1
    local delay = wait(debt)
    if amount > 0 then
      debt = max(debt, min(debt + amount * period, full))
      store(key, string.format('%.0f %.0f %.0f', debt, now, period), wait(debt))
    end
    local remaining = max(0, floor((full - debt) / period))
    local next_after = remaining < limit and wait(debt + (remaining + 1) * period - full) or 0
    return remaining, retry or wait(debt + price - full), wait(debt), next_after, now, delay
  end
end

local algorithms = {fixed = fixed, log = log, counter = counter, bucket = bucket}
local verdicts, takes, all = {}, {}, true
for i = 1, #KEYS do
  local a = 6 * i - 4
  verdicts[i], takes[i] = algorithms[ARGV[a]](
    KEYS[i], tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]) + 0.0, tonumber(ARGV[a + 3]) + 0.0, tonumber(ARGV[a + 4]))
  if corrupt then return redis.error_reply('CORRUPT this key holds no such limit') end
  all = all and verdicts[i]
end

local hit, reply = ARGV[1] == 'hit', {}
for i = 1, #KEYS do
  local a = 6 * i - 4
  local cost, limit = tonumber(ARGV[a + 4]), tonumber(ARGV[a + 1])
  local amount = hit and (all or (not verdicts[i] and ARGV[a + 5] == '1' and cost <= limit)) and cost or 0
  local n = #reply
  reply[n + 1] = verdicts[i] and 1 or 0
  reply[n + 2], reply[n + 3], reply[n + 4], reply[n + 5], reply[n + 6], reply[n + 7] = takes[i](amount)
end
return reply

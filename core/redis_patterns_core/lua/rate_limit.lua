-- Ask one or several limits, and take from all of them if each allows it: all or none, by the server's clock.
--
-- KEYS[i]  the state of limit i; absent is idle, and every write gives it a TTL that outlasts what it says
--            fixed    string "START COUNT": the window's start, and what was taken in it
--            log      list of "TIME" or "TIME:COST", oldest first, and at its end "USED LAST": the sum and the newest
--            counter  string "INDEX BEFORE COUNT WIDTH": the window's number, what was taken in the one before and in it
--            bucket   string "DEBT SINCE PERIOD": what was taken and has not come back, in 1/PERIOD, as it was at SINCE;
--                     or "DEBT SINCE PERIOD GIVEN" after some refunds, see rate_limit_refund
-- ARGV     "hit" or "peek", then for each limit six: its algorithm, limit, x, y, cost, "1" if a refusal costs too
--            fixed, log: x is the window in microseconds; counter: x is the window in milliseconds
--            bucket: x of the limit come back in y microseconds
-- Reply    for each limit eight: {allowed 0|1, remaining, retry after, reset after, next after, when, delay, turn}: times
--          in microseconds; retry is -1 for never; when is the moment that the limit took for now; turn is from then on
--          until a bucket has got back what was taken before this hit, as a refund has to be told
--
-- Where the clock stepped back, a limit stands still at the newest time it knows until the clock has caught up, and all
-- waits say so: that is the lag below.
--
-- It is one long body, and arithmetic turns texts into numbers, as each function made or called would cost a tenth of a
-- microsecond of everybody's Redis. All numbers are floats or below 2^53, in Lua 5.4 too, where integers wrap around;
-- %.0f writes all 16 digits of a time, where tostring would keep 14.

local floor, ceil, max, min, match, format = math.floor, math.ceil, math.max, math.min, string.match, string.format
local call = redis.call
local hit, several = ARGV[1] == 'hit', #KEYS > 1
local reply, all = {}, true

-- TIME is read once: up to Redis 7.0 it moves while a script runs.
local time = call('TIME')
local clock = time[1] * 1e6 + time[2]

-- Several limits are looked at first, and taken from in a second pass if all allow it. One needs but that.
for pass = several and 1 or 2, 2 do
  for i = 1, #KEYS do
    local a, key = 6 * i - 4, KEYS[i]
    local algorithm, limit, x = ARGV[a], ARGV[a + 1] * 1.0, ARGV[a + 2] * 1.0
    local y, cost = ARGV[a + 3] * 1.0, ARGV[a + 4] * 1.0
    local charges = cost <= limit and ARGV[a + 5] == '1'
    -- Whether to take from this limit where it allows the cost; where it refuses, that it does.
    local takes, pays = pass == 2 and hit and all, pass == 2 and hit and charges
    local now, allowed, remaining, retry, reset, next_after, delay, turn = clock, false, 0, 0, 0, 0, 0, 0

    if algorithm == 'bucket' then
      local tokens, period, debt, given, state = x, y, 0, 0, call('GET', key)
      if state then
        local owed, since, unit, back = match(state, '^(%d+) (%d+) (%d+)$')
        if not owed then
          owed, since, unit, back = match(state, '^(%d+) (%d+) (%d+) (%d+)$')
          if not owed then return redis.error_reply('CORRUPT this key holds no such limit') end
          given = back * 1.0
        end
        debt, since = owed * 1.0, since * 1.0
        -- The rate was changed: the same is owed, counted in the new unit.
        if unit * 1.0 ~= period then
          debt, given = min(ceil(debt / unit * period), 4503599627370496), min(ceil(given / unit * period), 2251799813685248)
        end
        if since > now then now = since end
        local drained = (now - since) * tokens
        if drained >= debt then
          debt, given = 0, max(0, given - (drained - debt))
        else
          debt = debt - drained
        end
      end
      local lag, full, price = now - clock, limit * period, cost * period
      allowed = debt + price <= full
      if debt > 0 then delay = ceil(debt / tokens) + lag end
      if debt > 0 or given > 0 then turn = floor((debt + given) / tokens) end
      if allowed and takes or not allowed and pays then
        debt = max(debt, min(debt + price, full))
        reset = ceil(debt / tokens) + lag
        -- Value and TTL in one command: no path leaves a key without.
        if given == 0 then
          call('SET', key, format('%.0f %.0f %.0f', debt, now, period), 'PX', ceil(reset / 1000) + 1)
        else
          local ttl = ceil((ceil((debt + given) / tokens) + lag) / 1000) + 1
          call('SET', key, format('%.0f %.0f %.0f %.0f', debt, now, period, given), 'PX', ttl)
        end
      elseif debt > 0 then
        reset = delay
      end
      remaining = max(0, floor((full - debt) / period))
      if remaining < limit then next_after = ceil((debt + (remaining + 1) * period - full) / tokens) + lag end
      if not allowed then retry = ceil((debt + price - full) / tokens) + lag end

    elseif algorithm == 'fixed' then
      local width, count, state = x, 0, call('GET', key)
      local start = floor(now / width) * width
      if state then
        local from, taken = match(state, '^(%d+) (%d+)$')
        if not from then return redis.error_reply('CORRUPT this key holds no such limit') end
        from, count = from * 1.0, taken * 1.0
        if from > now then
          now = from
          start = floor(now / width) * width
        end
        -- Of a narrower window that began in this one all belongs here; of one that began before nothing does.
        if from < start then count = 0 end
      end
      local ends = start + width - clock
      allowed = count + cost <= limit
      if allowed and takes or not allowed and pays then
        count = max(count, min(count + cost, limit))
        call('SET', key, format('%.0f %.0f', start, count), 'PX', ceil(ends / 1000) + 1)
      end
      if count > 0 then reset, next_after = ends, ends end
      if not allowed then retry = ends end
      remaining = max(0, limit - count)

    elseif algorithm == 'counter' then
      local width, before, count, state = x, 0, 0, call('GET', key)
      local index = floor(now / (width * 1000))
      if state then
        local number, earlier, taken, wide = match(state, '^(%d+) (%d+) (%d+) (%d+)$')
        if not number then return redis.error_reply('CORRUPT this key holds no such limit') end
        number, before, count, wide = number * 1.0, earlier * 1.0, taken * 1.0, wide * 1.0
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
      local lag, gone, most = now - clock, floor(now / 1000) - index * width, limit * width
      allowed = before * (width - gone) + (count + cost) * width <= most
      if allowed and takes or not allowed and pays then
        count = max(count, min(count + cost, limit))
        local ttl = ceil(((2 * width - gone) * 1000 + lag) / 1000) + 1
        call('SET', key, format('%.0f %.0f %.0f %.0f', index, before, count, width), 'PX', ttl)
      end
      remaining = max(0, floor((most - before * (width - gone) - count * width) / width))
      -- From milliseconds of this window on to microseconds from now on.
      local begins = index * width * 1000 - now + lag
      if count > 0 then reset = begins + 2000 * width elseif before > 0 then reset = begins + 1000 * width end
      -- First the last window leaves, then this one.
      if remaining < limit then
        local room = limit - count - remaining - 1
        if room >= 0 then next_after = begins + 1000 * (width - floor(room * width / before))
        else next_after = begins + 1000 * (2 * width - floor((limit - remaining - 1) * width / count)) end
      end
      if not allowed and cost <= limit then
        local room = limit - count - cost
        if room >= 0 then retry = begins + 1000 * (width - floor(room * width / before))
        else retry = begins + 1000 * (2 * width - floor((limit - cost) * width / count)) end
      end

    else
      local width, used, last, head = x, 0, 0, call('LINDEX', key, -1)
      if head then
        local sum, newest = match(head, '^(%d+) (%d+)$')
        if not sum then return redis.error_reply('CORRUPT this key holds no such limit') end
        used, last = sum * 1.0, newest * 1.0
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
        return at * 1.0, paid == '' and 1 or paid * 1.0
      end

      local dead, oldest, paid = 0, entry(0)
      while oldest and oldest <= now - width do
        used, dead = used - paid, dead + 1
        oldest, paid = entry(dead)
      end
      allowed = used + cost <= limit
      local added = allowed and takes or not allowed and pays
      if added then
        used, last = used + cost, now
        -- A refusal that costs may take more than there is: what is oldest is forgotten as long as it changes nothing.
        while oldest and used - paid >= limit do
          used, dead = used - paid, dead + 1
          oldest, paid = entry(dead)
        end
      end
      remaining = max(0, limit - used)
      if used > 0 then reset = last + width - now + lag end
      -- The oldest leave until one more fits, and until the cost does; the entry that is added now leaves last.
      local left, k, wanted = used, dead, remaining < limit and remaining + 1 or cost
      while remaining < limit do
        local at, cost_then = entry(k)
        if not at then at, cost_then = last, left end
        left, k = left - cost_then, k + 1
        local leaves = at + width - now + lag
        if next_after == 0 and left + wanted <= limit then next_after = leaves end
        if not allowed and retry == 0 and left + cost <= limit then retry = leaves end
        if left <= 0 or next_after > 0 and (allowed or retry > 0 or cost > limit) then break end
      end
      if added then
        if dead > 0 then call('LTRIM', key, dead, -1) end
        local text = cost == 1 and format('%.0f', now) or format('%.0f:%.0f', now, cost)
        local tail = format('%.0f %.0f', used, last)
        if head then
          call('LSET', key, -1, text)
          call('RPUSH', key, tail)
        else
          call('RPUSH', key, text, tail)
        end
        call('PEXPIRE', key, ceil((width + lag) / 1000) + 1)
      end
    end

    if cost > limit then retry = -1 end
    if not several then return {allowed and 1 or 0, remaining, retry, reset, next_after, now, delay, turn} end
    if pass == 1 then
      all = all and allowed
    else
      local n = #reply
      reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = allowed and 1 or 0, remaining, retry, reset
      reply[n + 5], reply[n + 6], reply[n + 7], reply[n + 8] = next_after, now, delay, turn
    end
  end
end
return reply

-- Give back what was taken from one or several limits, as far as it still counts: never more than would be there, had
-- it not been taken.
--
-- What a bucket is owed comes back in the order in which it was taken. So of each hit it is known when its turn is, and a
-- refund is what has not come back of it by then. All behind it have their turn the earlier, and were told a later one: by
-- how much is GIVEN, which their refunds take as having come back too. It is there until the last turn that was told is
-- over. Behind what was taken last there is nobody, so that leaves no trace.
--
-- KEYS[i]  the state of limit i, as rate_limit.lua writes it; one that is gone stays gone, and no TTL changes
-- ARGV     for each limit six: its algorithm, x, y, when, turn, how much; x and y as for rate_limit.lua, when and turn as it
--          gave them
-- Reply    how many of the limits got something back
local floor, max, min, match, format = math.floor, math.max, math.min, string.match, string.format
local given = 0

for i = 1, #KEYS do
  local key, a = KEYS[i], 6 * i - 5
  local algorithm = ARGV[a]
  local x, y, at, turn = ARGV[a + 1] * 1.0, ARGV[a + 2] * 1.0, ARGV[a + 3] * 1.0, ARGV[a + 3] + ARGV[a + 4] * 1.0
  local amount = ARGV[a + 5] * 1.0
  local text
  if algorithm == 'log' then
    local tail = redis.call('LINDEX', key, -1)
    local used = match(tail or '', '^(%d+) %d+$')
    local entry = amount == 1 and format('%.0f', at) or format('%.0f:%.0f', at, amount)
    -- Two of the same moment and cost are as good as each other.
    if used and redis.call('LREM', key, -1, entry) == 1 then
      if redis.call('LLEN', key) == 1 then
        redis.call('DEL', key)
      else
        local last = match(redis.call('LINDEX', key, -2), '^%d+')
        redis.call('LSET', key, -1, format('%.0f %s', used - amount, last))
      end
      given = given + 1
    end
  else
    local state = redis.call('GET', key) or ''
    if algorithm == 'fixed' then
      local start, count = match(state, '^(%d+) (%d+)$')
      -- What was taken in a window that is over counts no more.
      if start and tonumber(start) == floor(at / x) * x then
        text = format('%s %.0f', start, max(0, tonumber(count) - amount))
      end
    elseif algorithm == 'counter' then
      local index, before, count, wide = match(state, '^(%d+) (%d+) (%d+) (%d+)$')
      if index and tonumber(wide) == x then
        local age = tonumber(index) - floor(at / (x * 1000))
        if age == 0 then
          text = format('%s %s %.0f %s', index, before, max(0, tonumber(count) - amount), wide)
        elseif age == 1 then
          text = format('%s %.0f %s %s', index, max(0, tonumber(before) - amount), count, wide)
        end
      end
    else
      local owed, from, unit, back = match(state, '^(%d+) (%d+) (%d+) ?(%d*)$')
      -- Of another rate it is not known when the turn was.
      if owed and unit * 1.0 == y then
        local debt, since, price, told = owed * 1.0, from * 1.0, amount * y, back == '' and 0 or back * 1.0
        -- All of this is as it was at SINCE: what comes back from then on does so with the refund or without. Until then
        -- no more of it has come back than since it was taken, whatever was given to others.
        local gets = price - min(max(0, (since - turn) * x + told), max(0, (since - at) * x))
        -- A bucket that owes less was reset since, and what was taken before does not count any more.
        if gets > 0 and gets <= debt then
          -- Where one is worth less than a microsecond, others may have come after it that cannot be told from nobody.
          local is_last = x <= y and since + floor((debt + told - price) / x) == turn
          if not is_last then told = told + gets end
          text = format(told > 0 and '%.0f %s %s %.0f' or '%.0f %s %s', debt - gets, from, unit, told)
        end
      end
    end
    if text then
      redis.call('SET', key, text, 'KEEPTTL')
      given = given + 1
    end
  end
end
return given
